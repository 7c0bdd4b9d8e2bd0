"""The number of operations that a training step or an evaluation launches on a device, counted on any machine."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from okdbench.bench.loops import TimedRun, prepared
from okdbench.config import RunConfig
from okdbench.networks import fold_views, set_compute_dtype
from okdbench.training.backends import Changes, Eager, Result
from okdbench.training.evaluation import Evaluation
from okdbench.training.step import Step

ALLOCATIONS = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"})
OTHERS = frozenset({"_unsafe_view", "detach", "lift_fresh", "resize_", "set_"})
"""Operations that make a view or change metadata, although their schema does not say so."""


@dataclass(frozen=True)
class StepOperations:
    """The operations of one training step, and of the evaluation of one batch: how many there are of each name."""

    config: RunConfig
    counts: Mapping[str, int]
    evaluation: Mapping[str, int]

    @property
    def total(self) -> int:
        """The number of all of the step's."""
        return sum(self.counts.values())

    @property
    def evaluation_total(self) -> int:
        """The number of all of the evaluation's."""
        return sum(self.evaluation.values())

    def facts(self) -> dict[str, Any]:
        """Return the case and its counts as JSON values, the most frequent first."""
        return {
            "kind": "operations",
            "operations_per_step": self.total,
            "operations": dict(self.counts),
            "operations_per_evaluation_batch": self.evaluation_total,
            "evaluation_operations": dict(self.evaluation),
            "config": self.config.model_dump(mode="json"),
        }


class LaunchCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts, by name, the operations that launch work on a device; one on a list of tensors (foreach) counts once.

    Views, allocations and changes of metadata launch nothing.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = Counter[str]()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the operation ``func`` and count it if it launches work."""
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        if not (func.is_view or name in ALLOCATIONS or name in OTHERS or func.namespace in ("prim", "profiler")):
            self.counts[name] += 1
        return result


class _Counted(Eager):
    """Calls every function directly and counts its operations."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = LaunchCounter()

    def __call__(self, key: Hashable, function: Callable[[], Result], changes: Callable[[], Changes]) -> Result:
        """Call ``function``."""
        with self.counter:
            return function()


def count_operations(run: TimedRun) -> StepOperations:
    """Count one whole training step, and one batch of evaluation with the metrics of all heads.

    Both are in the form that is recorded on a GPU: views folded, stages in bfloat16. The step is the second, since the
    first one also makes momenta and sums; a `Method.meta_step` is not counted.
    """
    images, method = prepared(run)
    set_compute_dtype(method, torch.bfloat16)
    fold_views(method)
    step = Step(method, run.config.training)
    step.begin_epoch(0)
    counter = LaunchCounter()
    for number, pending in enumerate(images.pending_batches(0, method.views)):
        if number < 1:
            step.train_pending(pending, number)
            continue
        with counter:
            step.train(pending.batch())
        break
    evaluation = _Counted()
    Evaluation(method, evaluation)("test", islice(images.test(), 1))
    return StepOperations(run.config, dict(counter.counts.most_common()), dict(evaluation.counter.counts.most_common()))

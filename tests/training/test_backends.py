"""A step that is recorded and replayed does to the bit what it does when its operations are launched one by one."""

import gc
import json
import math
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import dropout
from training.recorder import Recorder

from okdbench.config import AverageSettings, CosineSchedule, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.methods import Batch, Build, Method, Progress, configure, get
from okdbench.methods.baseline import Baseline, BaselineConfig
from okdbench.networks import Branched, fold_views, set_compute_dtype
from okdbench.networks import get as network
from okdbench.runs.execution import Algorithms, Backend, GraphError, Precision
from okdbench.seeds import seeded
from okdbench.training import Interrupted, Step
from okdbench.training.backends import TOLERANCE, Graph, compare_states, no_garbage
from okdbench.training.computation import Computation
from okdbench.training.images import PendingBatch

WARM_UP = 1
SLOW = {"dkel": {}, "ffsd": {}, "kdcl": {"variant": "general"}, "l-mcl": {"meta_every": 2}, "one": {}}
METHODS = {"baseline": {}, "dml": {}, **SLOW}
TRAINING = TrainingSettings(
    epochs=4, batch_size=8, optimizer=OptimizerSettings(lr=0.1), schedule=CosineSchedule(name="cosine")
)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Recorder]:
    """Calling it makes everything run from then on as on a GPU."""

    def switch() -> Recorder:
        recorder = Recorder()
        monkeypatch.setattr(Computation, "runner", lambda self, tolerance=0.0: Graph(recorder, WARM_UP, tolerance))
        return recorder

    return switch


def lines(folder: Path) -> list[dict]:
    found = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in {"seconds", "images_per_second"}} for line in found]


def outcome(folder: Path) -> tuple[list[dict], str]:
    return lines(folder), json.loads((folder / "record.json").read_text())["weights_sha256"]


def everything(config: RunConfig) -> RunConfig:
    """The run for two epochs, with validation images and a moving average beside."""
    training = config.training.model_copy(update={"ema": AverageSettings(decay=0.5), "epochs": 2})
    data = config.data.model_copy(update={"validation": 20})
    return config.model_copy(update={"training": training, "data": data})


@pytest.mark.parametrize("method", [pytest.param(m, marks=pytest.mark.slow if m in SLOW else ()) for m in METHODS])
def test_a_recorded_run_is_the_same_to_the_bit(method, small, trainer, recorder, tmp_path) -> None:
    config = everything(small(method, **METHODS[method]))
    trainer(config, tmp_path / "eager").train()
    graphs = recorder()
    graphed = trainer(config, tmp_path / "graph")
    graphed.train()
    assert outcome(tmp_path / "graph") == outcome(tmp_path / "eager")
    assert graphed.step.run.notes == []
    assert graphs.replayed > graphs.recorded > 0


def test_a_recorded_run_continues_to_the_bit(small, trainer, recorder, tmp_path) -> None:
    config = everything(small("dkel"))
    trainer(config, tmp_path / "eager").train()
    recorder()
    for steps in (2, 3):  # within epoch 0, and then at the first step of epoch 1, of three steps each
        calls = iter([False] * (steps - 1) + [True] * 100)
        with pytest.raises(Interrupted):
            trainer(config, tmp_path / "graph", stop=lambda calls=calls: next(calls)).train()
    trainer(config, tmp_path / "graph").train()
    assert outcome(tmp_path / "graph") == outcome(tmp_path / "eager")


def made(kind: str | type[Method] = "dkel") -> Method:
    config = configure(kind, {}) if isinstance(kind, str) else BaselineConfig()
    kind = get(kind) if isinstance(kind, str) else kind
    return kind(Build([network("resnet8")], 10, seed=0), config).train()


def train(step: Step, steps: int = 5, sizes: Sequence[int] = (8, 8, 6)) -> dict[str, Tensor]:
    """Batches of noise, in turns of these sizes; all state afterwards."""
    images = torch.zeros(8, step.method.views, 3, 16, 16)
    labels = torch.zeros(8, dtype=torch.long)
    step.begin_epoch(0)
    for number in range(steps):
        draws = torch.Generator().manual_seed(number)
        images.copy_(torch.randn(images.shape, generator=draws))
        labels.copy_(torch.randint(10, labels.shape, generator=draws))
        size = sizes[number % len(sizes)]
        load = PendingBatch(size, lambda size=size: Batch(images[:size].unbind(1), labels[:size]))
        with seeded(0, "step", number):
            step.train_pending(load, number)
    return {**step.method.state_dict(), **step.sums}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("precision", [Precision.float32, Precision.bfloat16])
def test_recorded_steps_fold_views_and_lower_precision(precision: Precision, recorder) -> None:
    graphs, method = recorder(), made()
    step = Computation(Backend.graph, precision, Algorithms.deterministic).prepare(method, TRAINING)
    assert all(each.folded for each in method.modules() if isinstance(each, Branched))
    by_hand = made()
    fold_views(by_hand)
    set_compute_dtype(by_hand, torch.bfloat16 if precision == Precision.bfloat16 else None)
    assert same(train(step), train(Step(by_hand, TRAINING)))
    assert graphs.recorded == 1  # the smaller batch has only come once


@pytest.mark.slow
def test_compiled_folded_steps_are_those_of_eager_ones_in_float64() -> None:
    def trained(compiled: bool) -> dict[str, Tensor]:
        method = made().double()
        if compiled:
            fold_views(method)
            method.compile(dynamic=False)
        return train(Step(method, TRAINING, compiled=compiled), steps=4, sizes=(8,))

    torch.set_default_dtype(torch.float64)
    try:
        compiled, eager = trained(True), trained(False)
    finally:
        torch.set_default_dtype(torch.float32)
    for name, value in eager.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-11, atol=1e-12, msg=name)


class Mixed(Baseline):
    """Draws random numbers in every step, and looks at every other batch once more."""

    name = "mixed"
    meta_every = 2

    def __init__(self, build: Build, config: BaselineConfig) -> None:
        super().__init__(build, config)
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        return {name: dropout(term.expand(100)).mean() for name, term in super().losses(batch, progress).items()}

    def meta_step(self, batch: Batch, progress: Progress) -> None:
        self.seen += (progress.step.long() + 1) * batch.labels.sum()


def test_random_numbers_and_meta_steps_are_those_of_the_step() -> None:
    graphs = Recorder()
    assert same(
        train(Step(made(Mixed), TRAINING, run=Graph(graphs, WARM_UP)), 9), train(Step(made(Mixed), TRAINING), 9)
    )
    assert graphs.recorded == 4, "steps and meta steps, of whole batches and of smaller ones"


class Stubborn(Baseline):
    """Reads back a value in every step."""

    name = "stubborn"

    def after_step(self, progress: Progress) -> None:
        self.seen = float(progress.step)


def test_what_cannot_be_recorded_is_an_error() -> None:
    with pytest.raises(GraphError, match=r"^not recorded: .* reads back"):
        train(Step(made(Stubborn), TRAINING, run=Graph(Recorder(), WARM_UP)))


class Counting(Baseline):
    """Does something else in every other step, as a number in Python says."""

    name = "counting"
    capturable = False
    steps = 0

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        self.steps += 1
        return {name: term * (self.steps % 2) for name, term in super().losses(batch, progress).items()}


@pytest.mark.parametrize("tolerance", [0.0, TOLERANCE])
def test_what_is_not_the_same_in_every_step_is_an_error(tolerance: float) -> None:
    with pytest.raises(GraphError, match=r"a replay changes the .* otherwise than the step that it records"):
        train(Step(made(Counting), TRAINING, run=Graph(Recorder(), WARM_UP, tolerance)))


def test_an_error_of_the_device_counts_as_one_of_the_graph(small, trainer, tmp_path, monkeypatch) -> None:
    def lost(self: Step) -> dict[str, float]:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nmore")

    monkeypatch.setattr(Step, "mean_losses", lost)
    graphed = trainer(small("baseline"), tmp_path / "run")
    with pytest.raises(torch.AcceleratorError):
        graphed.train()
    graphed.computation = Computation(Backend.graph, Precision.float32, Algorithms.deterministic)
    with pytest.raises(GraphError, match="continue with eager"):
        graphed.train()
    fallback = graphed.folder.fallback
    assert fallback and fallback.backend == Backend.eager
    assert fallback.reason == "graph failed (CUDA error: an illegal memory access was encountered)"


def test_states_are_compared_by_the_change() -> None:
    def apart(one: Tensor, other: Tensor, start: Tensor) -> float:
        return compare_states({"sums": [start]}, {"sums": [one]}, {"sums": [other]}).distance

    ones, zeros = torch.ones(4), torch.zeros(4)
    assert apart(ones, ones, zeros) == 0.0
    assert apart(ones * math.nan, ones * math.nan, zeros) == 0.0, "NaN equals NaN"
    assert apart(1.01 * ones, ones, zeros) == pytest.approx(0.01)
    assert apart(101.01 * ones, 101 * ones, 100 * ones) == pytest.approx(0.01, rel=1e-3)
    assert apart(ones, zeros, zeros) == math.inf, "what should not have changed did"
    assert apart(ones.long(), 2 * ones.long(), zeros.long()) == math.inf
    before = {"small": [torch.zeros(1)], "buffers": [torch.zeros(1), torch.zeros(1)]}
    one = {"small": [torch.ones(1)], "buffers": [torch.tensor([2e-6]), torch.ones(1)]}
    other = {"small": [torch.ones(1)], "buffers": [torch.tensor([1e-6]), torch.ones(1)]}
    found = compare_states(before, one, other)
    assert found.where == "buffers" and found.distance < 1e-5, "noise is measured by the change of all buffers"


def test_a_replay_that_is_near_is_noted() -> None:
    class Rounding(Recorder):
        def __call__(self, function):
            replay, result = super().__call__(function)

            def rounding() -> None:
                replay()
                with torch.no_grad():
                    for parameter in step.method.parameters():
                        parameter.mul_(1 + 1e-6)

            return rounding, result

    def step_with(tolerance: float) -> Step:
        return Step(made(), TRAINING, run=Graph(Rounding(), WARM_UP, tolerance))

    step = step_with(TOLERANCE)
    train(step)
    assert step.run.notes == ["replays agree with single operations within 5% of a step, not to the bit"]
    step = step_with(0.0)
    with pytest.raises(GraphError, match="changes the parameters"):
        train(step)


def test_nothing_is_freed_while_a_graph_is_recorded() -> None:
    class Owner:
        def __init__(self) -> None:
            self.itself = self

    before = weakref.ref(Owner())
    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="broke off"), no_garbage():
        assert before() is None and not gc.isenabled()
        raise RuntimeError("broke off")
    assert gc.isenabled()

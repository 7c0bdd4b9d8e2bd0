"""A stand-in for CUDA graphs on the CPU: it records the operations that a function runs, and runs them again.

As with a graph, a record is a list of operations on certain tensors: Python numbers are those of the recording, a
tensor that the function finds again every time is the one of the recording, recording itself changes nothing, and
reading a value back is an error.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from okdbench.training.backends import Result

READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)


class Operation(NamedTuple):
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    outputs: list[Tensor]


class _Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        self._made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in READS:
            raise RuntimeError(f"{func} reads back while a graph is recorded")
        for tensor in written(func, args, kwargs):
            if tensor.untyped_storage().data_ptr() not in self._made:
                self.before.setdefault(id(tensor), (tensor, tensor.clone()))
        result = func(*args, **kwargs)
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        known = {each.untyped_storage().data_ptr() for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        new = [output for output in outputs if output.untyped_storage().data_ptr() not in known]
        self._made |= {output.untyped_storage().data_ptr() for output in new}
        self.operations.append(Operation(func, args, kwargs, new))
        return result


def written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that an operation changes in place."""
    found = []
    for place, argument in enumerate(func._schema.arguments):
        value = args[place] if place < len(args) else kwargs.get(argument.name)
        if argument.alias_info is not None and argument.alias_info.is_write:
            found += [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
    if func is torch.ops.aten.native_batch_norm.default and args[5]:  # says nothing of its running statistics
        found += [tensor for tensor in args[3:5] if tensor is not None]
    return found


class Recorder:
    """Captures as `okdbench.training.backends.Capture` wants it.

    ``recorded`` and ``replayed`` count; ``operations`` are those of the last record.
    """

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0
        self.operations: list[Operation] = []

    def __call__(self, function: Callable[[], Result]) -> tuple[Callable[[], None], Result]:
        recording, random = _Recording(), torch.get_rng_state()
        try:
            with recording:
                result = function()
        finally:
            with torch.no_grad():
                for tensor, value in recording.before.values():
                    tensor.copy_(value)
            torch.set_rng_state(random)
        self.recorded += 1
        self.operations = recording.operations

        @torch.no_grad()
        def replay() -> None:
            self.replayed += 1
            for operation in recording.operations:
                again = operation.function(*operation.arguments, **operation.keywords)
                leaves = [leaf for leaf in tree_leaves(again) if isinstance(leaf, Tensor)]
                places = [leaf for leaf in leaves if leaf.untyped_storage().data_ptr() not in inputs(operation)]
                for place, value in zip(operation.outputs, places, strict=True):
                    place.copy_(value)

        return replay, result


def inputs(operation: Operation) -> set[int]:
    """Storages of what goes into an operation."""
    leaves = tree_leaves((operation.arguments, operation.keywords))
    return {leaf.untyped_storage().data_ptr() for leaf in leaves if isinstance(leaf, Tensor)}

"""The cost of a network and the shapes that it gives, counted without weights on the meta device."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from okdbench.networks.base import Architecture, Branch, Single, Trunk, count_parameters

aten = torch.ops.aten
COUNTED = (aten.convolution, aten.convolution_backward, aten.mm, aten.addmm)
"""The operations of convolutions and linear layers, forward and backward."""


class _SkipInitialisation(TorchFunctionMode):
    """Skips the initialisation of weights, which takes time on the meta device and does nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (Tensor.normal_, Tensor.uniform_) or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def weightless() -> Iterator[None]:
    """A context in which modules are built with shapes and without weights, in little time and no memory."""
    with torch.device("meta"), _SkipInitialisation():
        yield


class _Shape(NamedTuple):
    """Everything that describes a tensor on the meta device."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def make(self) -> Tensor:
        """Another such tensor."""
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device="meta")


class _CachedResult(NamedTuple):
    """The outcome of an operation: its results, the type that holds them if there are several, and its MACs."""

    results: list[_Shape | None]
    container: type[Any] | None
    macs: int


@dataclass
class Tally:
    """Totals of some operations.

    ``macs`` are the multiply-accumulates of convolutions and linear layers; ``launches`` the operations that a device
    would have to start; ``convolution_inputs`` and ``convolution_outputs`` the elements that convolutions read and
    write.
    """

    macs: int = 0
    launches: int = 0
    convolution_inputs: int = 0
    convolution_outputs: int = 0


class CostCounter(TorchDispatchMode):
    """Counts what runs inside this context, apart by whether gradients are recorded.

    On the meta device, the result of an operation is worked out once for each kind of input: torch does that in Python,
    which for batch normalisation is as slow as computing it on a CPU.
    """

    with_gradient: Tally
    without_gradient: Tally
    _known: ClassVar[dict[Any, _CachedResult]] = {}

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.with_gradient, self.without_gradient = Tally(), Tally()

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the default passes every operation through the compiler first, which takes longer

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result, macs = self._run(func, args, kwargs or {})
        tally = self.with_gradient if torch.is_grad_enabled() else self.without_gradient
        tally.macs += macs
        if not func.is_view and func is not aten.empty.memory_format:
            tally.launches += 1
        if func.overloadpacket is aten.convolution:
            tally.convolution_inputs += args[0].numel()
            tally.convolution_outputs += result.numel()
        return result

    def _run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, int]:
        """Return the result of an operation, and its MACs."""
        if any(result.alias_info for result in func._schema.returns):
            in_place = func._schema.name.endswith("_") and torch.Tag.inplace_view not in func.tags
            return args[0] if in_place and args[0].is_meta else func(*args, **kwargs), 0
        key = func, _kind(args), _kind(tuple(kwargs.items()))
        if key not in self._known:
            found = func(*args, **kwargs)
            counted = func.overloadpacket in COUNTED
            macs = flop_registry[func.overloadpacket](*args, **kwargs, out_val=found) // 2 if counted else 0
            results = found if isinstance(found, tuple | list) else [found]
            if not all(each is None or (isinstance(each, Tensor) and each.is_meta) for each in results):
                return found, macs
            shapes = [each if each is None else _Shape(each.shape, each.stride(), each.dtype) for each in results]
            self._known[key] = _CachedResult(shapes, type(found) if results is found else None, macs)
        shapes, container, macs = self._known[key]
        made = [shape and shape.make() for shape in shapes]
        return container(made) if container else made[0], macs


def _kind(value: Any) -> Any:
    """Return the properties of an argument on which the shapes of a result depend."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.device
    return tuple(map(_kind, value)) if isinstance(value, list | tuple) else (type(value), value)


def count_macs(module: nn.Module, image_size: int) -> int:
    """Return MACs of one forward pass in eval mode over one image [3, image_size, image_size].

    The weights may be on any device: build the module within `weightless` to count without computing. Its mode and
    buffers stay as they are.
    """
    modes = {layer: layer.training for layer in module.modules()}
    like = next(module.parameters())
    with torch.no_grad(), CostCounter() as counted:
        module.eval()(torch.zeros(1, 3, image_size, image_size, device=like.device, dtype=like.dtype))
    for layer, training in modes.items():
        layer.training = training
    return counted.without_gradient.macs


class Cost(NamedTuple):
    """Parameters, and MACs of one forward pass over one image."""

    parameters: int
    macs: int


@dataclass(frozen=True)
class NetworkCost:
    """The cost of the part that branches share, and of one branch with its classifier."""

    trunk: Cost
    branch: Cost

    @property
    def single(self) -> Cost:
        """The cost of the plain network: the trunk and one branch."""
        return Cost(self.trunk.parameters + self.branch.parameters, self.trunk.macs + self.branch.macs)


def count_cost(architecture: Architecture, classes: int, image_size: int | None = None) -> NetworkCost:
    """Return the costs at the architecture's default split and, unless another is given, for its own image size."""
    size = image_size or architecture.image_size
    with weightless():
        parts = architecture.build(classes)
    trunk, branch = Trunk(parts, parts.split).eval(), Branch(parts, parts.split).eval()
    with torch.no_grad(), CostCounter() as shared:
        map = trunk(torch.zeros(1, 3, size, size, device="meta"))
    with torch.no_grad(), CostCounter() as private:
        branch(map)
    return NetworkCost(
        Cost(count_parameters(trunk), shared.without_gradient.macs),
        Cost(count_parameters(branch), private.without_gradient.macs),
    )


class MapShape(NamedTuple):
    """A feature map's channels and side in pixels."""

    channels: int
    side: int


class NetworkShapes(NamedTuple):
    """The shapes of the maps after every stage and of the final map, and the width of the features."""

    taps: tuple[MapShape, ...]
    final: MapShape
    features: int


@cache
def late_depths(architecture: Architecture) -> tuple[int, ...] | None:
    """Return the blocks of each stage of an architecture that can have others (`Late`); None if it cannot."""
    with weightless():
        late = architecture.build(10).late
    return late.depths if late else None


@cache
def network_shapes(architecture: Architecture) -> NetworkShapes:
    """Return an architecture's shapes for its own image size."""
    size = architecture.image_size
    with weightless(), torch.no_grad(), CostCounter():
        trace = Single(architecture.build(10)).eval().trace(torch.zeros(1, 3, size, size))
    *taps, final = (MapShape(map.shape[1], map.shape[2]) for map in (*trace.taps, trace.final))
    return NetworkShapes(tuple(taps), final, trace.features.shape[1])

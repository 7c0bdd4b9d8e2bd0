"""What a network costs: parameters and multiply-accumulates (MACs), counted without weights on the meta device."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from okdbench.networks.base import Architecture, Branch, Parts, Single, Trunk, count_parameters


class _Undrawn(TorchFunctionMode):
    """Leaves out the drawing of initial weights, which on the meta device is slow for nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (Tensor.normal_, Tensor.uniform_) or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def weightless() -> Iterator[None]:
    """What is built inside has shapes and no weights, in no time and no memory: for counting and checking."""
    with torch.device("meta"), _Undrawn():
        yield


class _Shape(NamedTuple):
    """What a tensor on the meta device is."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def make(self) -> Tensor:
        """Another such tensor."""
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device="meta")


class Shapes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, what operations on the meta device give is worked out once for each kind of input.

    torch does that in Python, for batch normalisation as slowly as a computer computes it.
    """

    _known: ClassVar[dict[Any, tuple[list[_Shape | None], type[Any] | None]]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(result.alias_info for result in func._schema.returns):
            in_place = func._schema.name.endswith("_") and torch.Tag.inplace_view not in func.tags
            return args[0] if in_place and args[0].is_meta else func(*args, **kwargs)
        key = func, _kind(args), _kind(tuple(kwargs.items()))
        if key not in self._known:
            found = func(*args, **kwargs)
            results = found if isinstance(found, tuple | list) else [found]
            if not all(each is None or (isinstance(each, Tensor) and each.is_meta) for each in results):
                return found
            shapes = [each if each is None else _Shape(each.shape, each.stride(), each.dtype) for each in results]
            self._known[key] = shapes, type(found) if results is found else None
        shapes, several = self._known[key]
        made = [shape and shape.make() for shape in shapes]
        return several(made) if several else made[0]


def _kind(value: Any) -> Any:
    """What decides, of an argument, the shapes of the result."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.device
    return tuple(map(_kind, value)) if isinstance(value, list | tuple) else (type(value), value)


class Cost(NamedTuple):
    """Parameters, and MACs of one forward pass over one image."""

    parameters: int
    macs: int


@dataclass(frozen=True)
class Measurement:
    """The cost of the part that branches share and of one branch with its classifier."""

    trunk: Cost
    branch: Cost

    @property
    def single(self) -> Cost:
        """The plain network: the trunk and one branch."""
        return Cost(self.trunk.parameters + self.branch.parameters, self.trunk.macs + self.branch.macs)


@dataclass
class Counted:
    """MACs of convolutions and linear layers in the passes so far, apart by whether gradients were recorded."""

    with_gradient: int = 0
    without_gradient: int = 0


@contextmanager
def count_macs(module: nn.Module) -> Iterator[Counted]:
    """Count what runs inside the block, whole batches included; a layer that runs twice counts twice."""
    counted = Counted()

    def add(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, inputs: tuple[Tensor], output: Tensor) -> None:
        # A weight belongs to an output channel, but of a transposed convolution to an input channel.
        counted_over = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        amount = counted_over.numel() * layer.weight[0].numel()
        if torch.is_grad_enabled():
            counted.with_gradient += amount
        else:
            counted.without_gradient += amount

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    try:
        with Shapes():  # type: ignore[no-untyped-call]
            yield counted
    finally:
        for hook in hooks:
            hook.remove()


def macs(network: nn.Module | Parts, image_size: int) -> int:
    """MACs of convolutions and linear layers in one forward pass over one image [3, image_size, image_size].

    Its weights may be on any device: build it within ``torch.device("meta")`` to count without computing. Its mode and
    buffers stay as they are.
    """
    module = Single(network) if isinstance(network, Parts) else network
    modes = {layer: layer.training for layer in module.modules()}
    like = next(module.parameters())
    with torch.no_grad(), count_macs(module) as counted:
        module.eval()(torch.zeros(1, 3, image_size, image_size, device=like.device, dtype=like.dtype))
    for layer, training in modes.items():
        layer.training = training
    return counted.without_gradient


class MapShape(NamedTuple):
    """A feature map's channels and side in pixels."""

    channels: int
    side: int


class NetworkShapes(NamedTuple):
    """Shapes of the maps after every stage and of the final map, and the width of the features."""

    taps: tuple[MapShape, ...]
    final: MapShape
    features: int


@cache
def network_shapes(architecture: Architecture) -> NetworkShapes:
    """An architecture's shapes for its own image size."""
    size = architecture.image_size
    with weightless(), Shapes(), torch.no_grad():  # type: ignore[no-untyped-call]
        trace = Single(architecture.build(10)).eval().trace(torch.zeros(1, 3, size, size))
    *taps, final = (MapShape(map.shape[1], map.shape[2]) for map in (*trace.taps, trace.final))
    return NetworkShapes(tuple(taps), final, trace.features.shape[1])


def measure(architecture: Architecture, classes: int, image_size: int | None = None) -> Measurement:
    """Costs at the architecture's default split, for its own image size unless told otherwise."""
    size = image_size or architecture.image_size
    with weightless():
        parts = architecture.build(classes)
    trunk, branch = Trunk(parts, parts.split), Branch(parts, parts.split)
    shared = macs(trunk, size)
    return Measurement(
        Cost(count_parameters(trunk), shared),
        Cost(count_parameters(branch), macs(parts, size) - shared),
    )

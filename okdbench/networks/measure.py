"""What a network costs: parameters and multiply-accumulates (MACs), counted without weights on the meta device."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from okdbench.networks.base import Architecture, Branch, Parts, Single, Trunk, count_parameters


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


def macs(network: nn.Module | Parts, image_size: int) -> int:
    """MACs of convolutions and linear layers in one forward pass over one image [3, image_size, image_size].

    ``network`` is called with one batch of images; a layer that runs twice counts twice. Its weights may be on any
    device: build it within ``torch.device("meta")`` to count without computing. Its mode and buffers stay as they are.
    """
    module = Single(network) if isinstance(network, Parts) else network
    total = 0

    def add(layer: nn.Conv2d | nn.Linear, inputs: Any, output: Tensor) -> None:
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    hooks = [layer.register_forward_hook(add) for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    modes = {layer: layer.training for layer in module.modules()}
    like = next(module.parameters())
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, 3, image_size, image_size, device=like.device, dtype=like.dtype))
    finally:
        for layer, training in modes.items():
            layer.training = training
        for hook in hooks:
            hook.remove()
    return total


def measure(architecture: Architecture, classes: int, image_size: int | None = None) -> Measurement:
    """Costs at the architecture's default split, for its own image size unless told otherwise."""
    size = image_size or architecture.image_size
    with torch.device("meta"):
        parts = architecture.build(classes)
    trunk, branch = Trunk(parts, parts.split), Branch(parts, parts.split)
    shared = macs(trunk, size)
    return Measurement(
        Cost(count_parameters(trunk), shared),
        Cost(count_parameters(branch), macs(parts, size) - shared),
    )

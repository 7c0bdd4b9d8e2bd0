"""What FFL, FFSD, DCCL and layer fusion share: modules on top of feature maps, and losses between attention maps.

Their public code uses the same fusion module throughout.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import batch_norm, normalize

from okdbench.methods.base import MethodConfig, ParameterGroup
from okdbench.networks import Architecture, Trace
from okdbench.networks.base import kaiming_convolutions
from okdbench.networks.counting import MapShape, network_shapes


class FusionConfig(MethodConfig):
    """The setting that all methods with a fusion module share."""

    fusion_weight_decay: float | None = Field(
        default=1e-5, ge=0, description="weight decay of the fusion module; null: the run's own"
    )


def different_shapes(what: str, architectures: Sequence[Architecture]) -> str | None:
    """Return why ``what`` cannot combine the maps of these architectures; None if they have one shape."""
    if len({network_shapes(architecture)[:2] for architecture in architectures}) == 1:
        return None
    pair = "+".join(architecture.name for architecture in architectures)
    return f"{what} puts maps of one shape together; those of {pair} differ"


def stage_maps(trace: Trace) -> tuple[Tensor, ...]:
    """Return the maps after every stage, the last one as the head pools it (after the final BN and ReLU)."""
    return (*trace.taps[:-1], trace.final)


def separable_block(channels: int, out: int) -> nn.Sequential:
    """Build a depthwise 3x3 convolution, BN, ReLU, and a 1x1 convolution, BN, ReLU: the map keeps its size."""
    layers = nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    )
    kaiming_convolutions(layers)
    return layers


class Fused(NamedTuple):
    """The output of a fusion module: the fused map [B, C, H, W] and its logits [B, classes]."""

    map: Tensor
    logits: Tensor


class FusionModule(nn.Module):
    """Mixes the maps of several networks into one as wide as each of them, and classifies it (FFL)."""

    def __init__(self, channels: int, networks: int, classes: int) -> None:
        super().__init__()
        self.mix = separable_block(networks * channels, channels)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, maps: Sequence[Tensor]) -> Fused:
        """Maps [B, C, H, W] of the networks, in their order."""
        return self.classify(self.mix(torch.cat(list(maps), dim=1)))

    def classify(self, map: Tensor) -> Fused:
        """Return the fused map and the logits of its global average."""
        return Fused(map, self.classifier(map.mean(dim=(2, 3))))


class Upsample(nn.Module):
    """Transposed 3x3 convolution to a map ``stride`` times as large, BN, ReLU."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(
            channels, out, 3, stride, padding=1, output_padding=stride - 1, bias=False
        )
        self.norm = nn.BatchNorm2d(out)

    def forward(self, map: Tensor, *, frozen: bool = False) -> Tensor:
        """``frozen`` uses the running statistics, and leaves them alone, in train mode too."""
        map, norm = self.convolution(map), self.norm
        if frozen:
            map = batch_norm(map, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        else:
            map = norm(map)
        return map.relu()


class SelfDistillation(nn.Module):
    """Turns a network's deepest map into pseudo maps of the shape of each shallower one (FFSD)."""

    def __init__(self, shapes: Sequence[MapShape]) -> None:
        super().__init__()
        deep_first = list(reversed(shapes))
        self.steps = nn.ModuleList(
            Upsample(deep.channels, shallow.channels, shallow.side // deep.side)
            for deep, shallow in pairwise(deep_first)
        )

    def forward(self, map: Tensor, *, frozen: bool = False) -> tuple[Tensor, ...]:
        """Pseudo maps, the shallowest first; ``frozen`` as in `Upsample`."""
        maps = list[Tensor]()
        for step in self.steps:
            map = step(map, frozen=frozen)
            maps.append(map)
        return tuple(reversed(maps))


def attention(map: Tensor) -> Tensor:
    """Return A(F), the mean over the channels of F^2: [B, C, H, W] -> [B, 1, H, W]."""
    return map.square().mean(dim=1, keepdim=True)


def unit(values: Tensor) -> Tensor:
    """n(v): each sample flattened, at length 1, [B, ...] -> [B, D]."""
    return normalize(values.flatten(1), dim=1)


def attention_loss(values: Tensor, target: Tensor) -> Tensor:
    """AL(u, v), the mean over samples and entries of (n(u) - n(v))^2, 0-d; of maps or of attention maps."""
    return (unit(values) - unit(target)).square().mean()


def attention_losses(maps: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """sum_l AL(A(map_l), A(target_l)), 0-d."""
    pairs = zip(maps, targets, strict=True)
    return torch.stack([attention_loss(attention(map), attention(target)) for map, target in pairs]).sum()


def fusion_groups(
    method: nn.Module, fusion: nn.Module, config: FusionConfig, apart: nn.Module | None = None
) -> list[ParameterGroup]:
    """Return two parameter groups: ``method`` without the fusion module and ``apart``, and the fusion module."""
    fused = list(fusion.parameters())
    left_out = {id(p) for p in (*fused, *(apart.parameters() if apart else ()))}
    others = [p for p in method.parameters() if id(p) not in left_out]
    return [ParameterGroup(others), ParameterGroup(fused, weight_decay=config.fusion_weight_decay)]

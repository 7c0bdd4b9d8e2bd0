"""HCGNet-A1 and -A2 for 32x32 images (Yang et al., AAAI 2020), as in MCL and L-MCL.

Gated networks with hybrid (dense and residual) connections, initialised as torch does.
"""

from functools import partial

import torch
from torch import Tensor, nn

from okdbench.networks.base import Architecture, ClassifierHead, Parts
from okdbench.networks.precision import to_float32

UNITS = 8
"""Units per stage."""
BOTTLENECK = 4
GROUPS = 4


class DilatedDepthwise(nn.Conv2d):
    """A dilated depthwise convolution, which always computes in float32 or higher on a CPU.

    In bfloat16 and channels-last the gradient of its weight depends there on uninitialised memory (torch 2.13).
    """

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, H, W], unchanged in shape."""
        if input.device.type != "cpu":
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(to_float32(input))


def preactivated(
    channels: int, out: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Module:
    """Return BN, ReLU and a convolution without bias."""
    padding = dilation * (kernel // 2)
    kind = DilatedDepthwise if dilation > 1 and groups == channels else nn.Conv2d
    conv = kind(channels, out, kernel, stride, padding, dilation, groups, bias=False)
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), conv)


class Context(nn.Module):
    """Attention-pooled vector: the sum over positions of v * softmax over positions of a 1x1 convolution of v."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, 1, 1)

    def forward(self, map: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, 1, 1]."""
        weights: Tensor = self.score(map).flatten(1).softmax(dim=1).view(-1, 1, *map.shape[2:])
        return (map * weights).sum(dim=(2, 3), keepdim=True)


class HybridGate(nn.Module):
    """u * forget(u) + update(u): a gate on each channel, and what two depthwise views of u add to all positions.

    The views, 3x3 and 3x3 with dilation 2, are pooled by their contexts and mixed by attention, channel by channel.
    ``reduction`` divides the widths of the hidden layers.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = channels // reduction
        self.forget = nn.Sequential(
            Context(channels),
            nn.Conv2d(channels, hidden, 1),
            nn.BatchNorm2d(hidden),
            nn.Tanh(),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )
        dilations = (1, 2)
        self.views = nn.ModuleList(preactivated(channels, channels, 3, dilation=d, groups=channels) for d in dilations)
        self.contexts = nn.ModuleList(Context(channels) for _ in dilations)
        hidden = 2 * channels // reduction
        self.query = nn.Sequential(nn.Conv2d(2 * channels, hidden, 1), nn.BatchNorm2d(hidden), nn.Tanh())
        self.keys = nn.ModuleList(nn.Conv2d(hidden, channels, 1) for _ in dilations)

    def forward(self, map: Tensor) -> Tensor:
        """[B, C, H, W], unchanged in shape; in training B must be above 1 (BN of vectors)."""
        forget = self.forget(map)
        views = [view(map) for view in self.views]
        pooled = [context(view) for context, view in zip(self.contexts, views, strict=True)]
        query = self.query(torch.cat(pooled, dim=1))
        weights = torch.stack([key(query) for key in self.keys]).softmax(dim=0)
        return map * forget + (weights * torch.stack(pooled)).sum(dim=0)  # type: ignore[no-any-return]


class Unit(nn.Module):
    """1x1 to four times the growth, 3x3 in four groups, gate; appended to the input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        inner = BOTTLENECK * growth
        self.new = nn.Sequential(
            preactivated(channels, inner, 1),
            preactivated(inner, growth, 3, groups=GROUPS),
            HybridGate(growth, reduction=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C + growth, H, W]."""
        return torch.cat([x, self.new(x)], dim=1)


def gated_transition(channels: int, out: int) -> list[nn.Module]:
    """``out`` channels on maps of half the side, in two steps, and a gate."""
    between = channels - (channels - out) // 2
    return [preactivated(channels, between, 1), preactivated(between, out, 3, stride=2), HybridGate(out, reduction=4)]


def build(classes: int, *, growth: tuple[int, int, int]) -> Parts:
    """Build a stem convolution and three stages of units.

    A transition that halves the channels ends the first and second.

    Final BN and ReLU are the neck of the linear head.
    """
    channels = 2 * growth[0]
    stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
    stages, taps = list[nn.Module](), list[int]()
    for index, width in enumerate(growth):
        layers: list[nn.Module] = [Unit(channels + unit * width, width) for unit in range(UNITS)]
        channels += UNITS * width
        if index < len(growth) - 1:
            layers += gated_transition(channels, channels // 2)
            channels //= 2
        stages.append(nn.Sequential(*layers))
        taps.append(channels)
    neck = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
    return Parts(
        stem, stages, ClassifierHead(nn.Linear(channels, classes), channels, neck), split=2, channels=tuple(taps)
    )


ARCHITECTURES = [
    Architecture("hcgnet_a1", "HCGNet-A1", partial(build, growth=(12, 24, 36))),
    Architecture("hcgnet_a2", "HCGNet-A2", partial(build, growth=(24, 36, 64))),
]

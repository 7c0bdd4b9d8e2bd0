"""MobileNetV2 (Sandler et al. 2018) as SwitOKD trains it: of half width for 32x32 images, 1.4 times as wide for 64x64.

The half one has a stem of stride 2, plain ReLU, an expansion convolution in every block, and channels that are not
rounded to multiples of 8. The wide one is torchvision's.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from okdbench.networks.base import Architecture, ClassifierHead, Parts

BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels before the width multiplier, repeats and stride (table 2 of the paper; the second has 1)."""
FEATURES = 1280


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise 3x3 with the stride, 1x1 projection without ReLU; the input is added if it fits."""

    def __init__(self, channels: int, width: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.layers = nn.Sequential(
            *_convolution(channels, wide, 1),
            *_convolution(wide, wide, 3, stride, groups=wide),
            *_convolution(wide, width, 1)[:2],
        )
        self.adds = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        """F(x), or x + F(x)."""
        out: Tensor = self.layers(x)
        return x + out if self.adds else out


def _convolution(channels: int, width: int, side: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(channels, width, side, stride, padding=side // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(width), nn.ReLU()]


def build_half(classes: int) -> Parts:
    """Half as wide: a stem of 16 channels, stages on maps of 16, 8, 4 and 2 pixels, its own initial weights."""
    channels = 16
    stem = nn.Sequential(*_convolution(3, channels, 3, stride=2))
    stages, taps = list[list[nn.Module]](), list[int]()
    for expansion, full, repeats, stride in BLOCKS:
        width = int(full * 0.5)
        if stride == 2 or not stages:  # a stage has all blocks of one size of map
            stages.append([])
            taps.append(0)
        taps[-1] = width
        for position in range(repeats):
            stages[-1].append(InvertedResidual(channels, width, expansion, 1 if position else stride))
            channels = width
    neck = nn.Sequential(*_convolution(channels, FEATURES, 1))
    head = ClassifierHead(nn.Linear(FEATURES, classes), FEATURES, neck)
    parts = Parts(stem, [nn.Sequential(*blocks) for blocks in stages], head, split=3, channels=tuple(taps))
    for layer in nn.ModuleList([stem, *parts.stages, neck]).modules():
        if isinstance(layer, nn.Conv2d):
            side, _ = layer.kernel_size
            nn.init.normal_(layer.weight, std=math.sqrt(2.0 / (side * side * layer.out_channels)))
    nn.init.normal_(head.classifier.weight, std=0.01)  # type: ignore[arg-type]
    nn.init.zeros_(head.classifier.bias)  # type: ignore[arg-type]
    return parts


def build_wide(classes: int) -> Parts:
    """1.4 times as wide, torchvision's, for images of 64 pixels: stages on maps of 32, 16, 8, 4 and 2."""
    from okdbench.torchvision_shim import torchvision  # takes a second to load, and most runs do without it

    network = torchvision.models.mobilenet_v2(width_mult=1.4, num_classes=classes)
    first, *blocks, last = network.features
    stages, taps = _by_stride(blocks)
    features = last[0].out_channels
    parts = Parts(first, stages, ClassifierHead(network.classifier, features, last), split=4, channels=taps)
    narrow_(nn.ModuleList([first, *stages, last, network.classifier]))
    return parts


def _by_stride(blocks: Sequence[nn.Module]) -> tuple[list[nn.Module], tuple[int, ...]]:
    """Group torchvision's blocks into stages, all but the first begin with a stride of 2; and return their widths."""
    groups = list[list[nn.Module]]()
    for block in blocks:
        strides = [layer.stride[0] for layer in block.modules() if isinstance(layer, nn.Conv2d)]
        if not groups or max(strides) == 2:
            groups.append([])
        groups[-1].append(block)
    widths = tuple(int(getattr(group[-1], "out_channels")) for group in groups)  # noqa: B009 (torchvision's own name)
    return [nn.Sequential(*group) for group in groups], widths


@torch.no_grad()
def narrow_(module: nn.Module) -> None:
    """Draw all weights as SwitOKD's three-network and Tiny ImageNet scripts do.

    Convolutions and linear layers are normal with standard deviation 1 / c, c the number of weights of an output
    channel, which is far below Kaiming's.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=1.0 / layer.weight[0].numel())


ARCHITECTURES = [
    Architecture("mobilenetv2_05", "MobileNetV2 0.5x", build_half),
    Architecture("tiny_mobilenetv2_14", "MobileNetV2 1.4x", build_wide, image_size=64),
]

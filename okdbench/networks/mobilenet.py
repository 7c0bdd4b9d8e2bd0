"""MobileNet (Howard et al. 2017, version 1 of full width) for 32x32 images.

DML prints 3.3M parameters for its MobileNet, which are this network's at 100 classes, and nothing else of it. The
strides are therefore inferred: the stem has stride 1, as in every other network for images of 32 pixels here, the four
strides after it are those of Howard et al.
"""

from torch import nn

from okdbench.networks.base import Architecture, ClassifierHead, Parts, kaiming_convolutions

STEM, FIRST = 32, 64
STAGES = (2 * (128,), 2 * (256,), 6 * (512,), 2 * (1024,))
"""Channels of the depthwise-separable blocks on maps of 16, 8, 4 and 2 pixels (table 1 of Howard et al.)."""


def convolution(channels: int, width: int, side: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a ``side`` x ``side`` convolution without bias, BN and ReLU."""
    layer = nn.Conv2d(channels, width, side, stride, padding=side // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(width), nn.ReLU()]


def separable(channels: int, width: int, stride: int) -> list[nn.Module]:
    """Return a depthwise 3x3 convolution with the stride, and a 1x1 convolution to ``width`` channels."""
    return [*convolution(channels, channels, 3, stride, groups=channels), *convolution(channels, width, 1)]


def build(classes: int) -> Parts:
    """Return a stem of a plain and a separable block, four stages of which branches own the last, and a linear head."""
    stem = nn.Sequential(*convolution(3, STEM, 3), *separable(STEM, FIRST, stride=1))
    stages, channels = list[nn.Module](), FIRST
    for widths in STAGES:
        layers = list[nn.Module]()
        for index, width in enumerate(widths):
            layers += separable(channels, width, stride=1 if index else 2)
            channels = width
        stages.append(nn.Sequential(*layers))
    kaiming_convolutions(nn.ModuleList([stem, *stages]))
    head = ClassifierHead(nn.Linear(channels, classes), channels)
    return Parts(stem, stages, head, split=3, channels=tuple(widths[-1] for widths in STAGES))


ARCHITECTURES = [Architecture("mobilenet", "MobileNet", build)]

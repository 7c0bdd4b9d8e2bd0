"""MobileNet (Howard et al. 2017, version 1 of full width) for 32x32 images.

DML prints 3.3M parameters for its MobileNet, which are this network's at 100 classes, and nothing else of it. The
strides are therefore inferred: the stem has stride 1, as in every other network for images of 32 pixels here, the four
strides after it are those of Howard et al. The network in the code of DCM (``mobilenet_dcm``) has the same layers and
two of these strides, on maps of 32, 16 and 8 pixels; that of SwitOKD is DML's, drawn otherwise (``mobilenet_switokd``).
"""

from functools import partial

from torch import nn

from okdbench.networks.base import Architecture, ClassifierHead, Parts, kaiming_convolutions, staged
from okdbench.networks.mobilenet_v2 import narrow_

STEM, FIRST = 32, 64
DEPTHS, WIDTHS = (2, 2, 6, 2), (128, 256, 512, 1024)
"""Depthwise-separable blocks on maps of 16, 8, 4 and 2 pixels, and their channels (table 1 of Howard et al.)."""
FEW_STRIDES = (64, 128, 128, 256, 256)
"""Channels of the blocks of DCM's first stage, all of stride 1."""


def convolution(channels: int, width: int, side: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a ``side`` x ``side`` convolution without bias, BN and ReLU."""
    layer = nn.Conv2d(channels, width, side, stride, padding=side // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(width), nn.ReLU()]


def separable(channels: int, width: int, stride: int) -> list[nn.Module]:
    """Return a depthwise 3x3 convolution with the stride, and a 1x1 convolution to ``width`` channels."""
    return [*convolution(channels, channels, 3, stride, groups=channels), *convolution(channels, width, 1)]


def halving(channels: int, width: int, depth: int) -> nn.Module:
    """Return a stage of ``depth`` blocks, the first of stride 2."""
    layers = separable(channels, width, stride=2)
    for _ in range(depth - 1):
        layers += separable(width, width, stride=1)
    return nn.Sequential(*layers)


def make(classes: int, depths: tuple[int, ...], widths: tuple[int, ...]) -> Parts:
    """Return a stem of a plain and a separable block, four stages of which branches own the last, and a linear head."""
    stem = nn.Sequential(*convolution(3, STEM, 3), *separable(STEM, FIRST, stride=1))
    sizes = zip((FIRST, *widths[:-1]), widths, depths, strict=True)
    stages = [halving(channels, width, depth) for channels, width, depth in sizes]
    kaiming_convolutions(nn.ModuleList([stem, *stages]))
    return Parts(stem, stages, linear(classes, widths), split=3, channels=widths)


def make_dcm(classes: int, depths: tuple[int, ...], widths: tuple[int, ...]) -> Parts:
    """Return DCM's: a first stage of stride 1 and two that halve the map, and torch's initial weights."""
    channels, first = STEM, list[nn.Module]()
    for width in FEW_STRIDES:
        first += separable(channels, width, stride=1)
        channels = width
    stages: list[nn.Module] = [nn.Sequential(*first)]
    for depth, width in zip(depths[1:], widths[1:], strict=True):
        stages.append(halving(channels, width, depth))
        channels = width
    stem = nn.Sequential(*convolution(3, STEM, 3))
    return Parts(stem, stages, linear(classes, widths), split=2, channels=widths)


def make_switokd(classes: int, depths: tuple[int, ...], widths: tuple[int, ...]) -> Parts:
    """Return the network drawn as in SwitOKD's scripts with three networks."""
    parts = make(classes, depths, widths)
    narrow_(nn.ModuleList([parts.stem, *parts.stages, parts.head]))
    return parts


def linear(classes: int, widths: tuple[int, ...]) -> ClassifierHead:
    """Return a linear head."""
    return ClassifierHead(nn.Linear(widths[-1], classes), widths[-1])


ARCHITECTURES = [
    Architecture("mobilenet", "MobileNet", partial(staged, make, depths=DEPTHS, widths=WIDTHS)),
    Architecture("mobilenet_switokd", "MobileNet", partial(staged, make_switokd, depths=DEPTHS, widths=WIDTHS)),
    Architecture(
        "mobilenet_dcm",
        "MobileNet",
        partial(staged, make_dcm, depths=(5, 6, 2), widths=(256, 512, 1024), thinned=(5, 4, 2)),
    ),
]

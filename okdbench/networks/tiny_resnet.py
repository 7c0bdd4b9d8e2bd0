"""ResNet-18 and -34 for 64x64 images (Tiny ImageNet), as in the DKEL code.

The ImageNet stem (7x7 convolution, stride 2) without its max-pool: the authors construct the pool and never call it, so
the stages work on maps of 32, 16, 8 and 4 pixels. The networks with the pool, at about a quarter of the cost, have
identifiers of their own.
"""

from functools import partial

from torch import nn

from okdbench.networks.base import Architecture, Parts, staged
from okdbench.networks.mobilenet_v2 import narrow_
from okdbench.networks.resnet import BasicBlock, assemble, stack

WIDTHS = (64, 128, 256, 512)


def make_small_stem(classes: int, depths: tuple[int, ...], widths: tuple[int, ...]) -> Parts:
    """Build SwitOKD's: a 3x3 stem of stride 1, so that the stages work on maps of 64, 32, 16 and 8 pixels."""
    stem = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
    parts = assemble(stem, stack(BasicBlock, depths, widths, channels=64), widths, classes)
    narrow_(nn.ModuleList([parts.stem, *parts.stages, parts.head]))
    return parts


def make(classes: int, depths: tuple[int, ...], widths: tuple[int, ...], *, max_pool: bool) -> Parts:
    """Build the stem, four stages of basic blocks (the last is what branches own) and a linear head."""
    stem = nn.Sequential(nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU())
    if max_pool:
        stem.append(nn.MaxPool2d(3, stride=2, padding=1))
    return assemble(stem, stack(BasicBlock, depths, widths, channels=64), widths, classes)


def build(classes: int, *, depths: tuple[int, ...], max_pool: bool) -> Parts:
    """Build a network with these numbers of blocks in its stages."""
    return staged(partial(make, max_pool=max_pool), classes, depths=depths, widths=WIDTHS)


def build_small_stem(classes: int, *, depths: tuple[int, ...]) -> Parts:
    """Build SwitOKD's with these numbers of blocks in its stages."""
    return staged(make_small_stem, classes, depths=depths, widths=WIDTHS)


ARCHITECTURES = [
    Architecture(f"tiny_{name}{suffix}", title, partial(build, depths=depths, max_pool=bool(suffix)), image_size=64)
    for name, title, depths in (("resnet18", "ResNet-18", (2, 2, 2, 2)), ("resnet34", "ResNet-34", (3, 4, 6, 3)))
    for suffix in ("", "_maxpool")
] + [Architecture("tiny_resnet34_3x3", "ResNet-34", partial(build_small_stem, depths=(3, 4, 6, 3)), image_size=64)]

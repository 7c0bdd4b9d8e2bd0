"""CIFAR ResNets: 3x3 stem of 16 channels, three post-activation stages of widths 16/32/64, strides 1/2/2.

He et al. 2016 with 1x1-convolution shortcuts (option B), initialised as in the OKDDip, PCL and DKEL code. "ResNet-110"
is printed for three networks: 18 basic blocks per stage, 12 bottlenecks per stage (OKDDip, PCL, DKEL), and 18
bottlenecks per stage (the code of ONE, 164 layers). "WRN-20-8" of OKDDip, PCL and DKEL is this class with eight times
wider bottlenecks. ResNeXt-29 (Xie et al. 2017, section 5.3) is this class too, four times as wide and with grouped
bottlenecks; no code of ONE or PCL has it.
"""

from functools import partial
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import relu

from okdbench.networks.base import Architecture, ClassifierHead, Parts, kaiming_convolutions, staged

WIDTHS = (16, 32, 64)
RESNEXT_WIDTHS = (64, 128, 256)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, the stride on the first; a 1x1 projection only where the shape changes."""

    expansion: ClassVar[int] = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = projection(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """relu(F(x) + shortcut(x)), the main path first."""
        out = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(out + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width; a 1x1 projection only where the shape changes."""

    expansion: ClassVar[int] = 4
    widening: ClassVar[int] = 1
    """The 3x3 convolution has ``widening * width`` channels."""
    groups: ClassVar[int] = 1
    """The number of groups."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        inner, out = self.widening * width, self.expansion * width
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=self.groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.shortcut = projection(channels, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """relu(F(x) + shortcut(x)), the main path first."""
        out = relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))
        return relu(self.bn3(self.conv3(out)) + self.shortcut(x))


class WideBottleneck(Bottleneck):
    """Eight times wider inside (torchvision's base width 512), as wide outside."""

    widening = 8


class TwoPaths(Bottleneck):
    """ResNeXt's block of cardinality 2: two grouped paths, each as wide as a plain bottleneck."""

    widening = groups = 2


class EightPaths(Bottleneck):
    """ResNeXt's block of cardinality 8."""

    widening = groups = 8


Block = type[BasicBlock] | type[Bottleneck]


def projection(channels: int, out: int, stride: int) -> nn.Module:
    """Return the shortcut: identity where the shape stays, 1x1 convolution + BN where it changes."""
    if stride == 1 and channels == out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))


def stack(block: Block, depths: tuple[int, ...], widths: tuple[int, ...], channels: int) -> list[nn.Module]:
    """Build one stage of ``depth`` blocks per width, stride 2 at the start of every stage but the first."""
    stages = list[nn.Module]()
    for index, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        blocks = list[nn.Module]()
        for position in range(depth):
            blocks.append(block(channels, width, stride=2 if index > 0 and position == 0 else 1))
            channels = width * block.expansion
        stages.append(nn.Sequential(*blocks))
    return stages


def assemble(stem: nn.Module, stages: list[nn.Module], channels: tuple[int, ...], classes: int) -> Parts:
    """Build the stem, stages and linear head with the authors' initialisation; the last stage is what branches own."""
    kaiming_convolutions(nn.ModuleList([stem, *stages]))
    head = ClassifierHead(nn.Linear(channels[-1], classes), feature_dim=channels[-1])
    return Parts(stem, stages, head, split=len(stages) - 1, channels=channels)


def make(classes: int, depths: tuple[int, ...], widths: tuple[int, ...], *, block: Block) -> Parts:
    """Return a CIFAR ResNet with these numbers of blocks in its stages; the stem is as wide as the first stage."""
    stem = nn.Sequential(nn.Conv2d(3, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
    stages = stack(block, depths, widths, channels=widths[0])
    return assemble(stem, stages, tuple(width * block.expansion for width in widths), classes)


def build(classes: int, *, block: Block, depth: int, widths: tuple[int, ...] = WIDTHS) -> Parts:
    """Return a CIFAR ResNet of three stages with ``depth`` blocks each."""
    return staged(partial(make, block=block), classes, depths=(depth,) * len(widths), widths=widths)


ARCHITECTURES = [
    *(
        Architecture(f"resnet{6 * depth + 2}", f"ResNet-{6 * depth + 2}", partial(build, block=BasicBlock, depth=depth))
        for depth in (1, 3, 5, 7, 9)
    ),
    Architecture("resnet110_basic", "ResNet-110", partial(build, block=BasicBlock, depth=18)),
    Architecture("resnet110_bottleneck", "ResNet-110", partial(build, block=Bottleneck, depth=12)),
    Architecture("resnet164_bottleneck", "ResNet-110", partial(build, block=Bottleneck, depth=18)),
    Architecture("wrn20_8_tv", "WRN-20-8", partial(build, block=WideBottleneck, depth=2)),
    *(
        Architecture(
            f"resnext29_{block.groups}x64d",
            f"ResNeXt-29 ({block.groups}x64d)",
            partial(build, block=block, depth=3, widths=RESNEXT_WIDTHS),
        )
        for block in (TwoPaths, EightPaths)
    ),
]

"""DenseNets for 32x32 images (Huang et al. 2017): 40 layers and growth 12, and 190 layers and growth 40.

OKDDip, PCL and DKEL have the BC variant (bottlenecks, compression 0.5), FFSD the plain one. Each branch owns its dense
block; the branched networks in the code of OKDDip share one module, and have an identifier of their own, as has the
network of the PCL code, which leaves out the batch normalisation that ends a branch. The large one, DenseNet-BC (190,
40) of ONE, whose code does not have it, is the same BC network with other numbers.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from okdbench.networks.base import Architecture, ClassifierHead, Parts, kaiming_convolutions, staged

GROWTH = 12
LAYERS = 6
"""Dense layers per block of the BC variant with 40 layers in all."""
PLAIN_LAYERS = 12


class DenseLayer(nn.Module):
    """BN-ReLU-1x1 to 4 * ``growth`` channels, BN-ReLU-3x3 to ``growth`` new ones, appended to the input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C + growth, H, W]."""
        new = self.conv2(relu(self.bn2(self.conv1(relu(self.bn1(x))))))
        return torch.cat([x, new], dim=1)


class PlainLayer(nn.Module):
    """BN-ReLU-3x3 to ``growth`` new channels, appended to the input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C + growth, H, W]."""
        return torch.cat([x, self.conv(relu(self.bn(x)))], dim=1)


def block(channels: int, layers: int, growth: int) -> list[nn.Module]:
    """Return the layers of one dense block, from ``channels`` to ``channels + layers * growth``."""
    return [DenseLayer(channels + index * growth, growth) for index in range(layers)]


def transition(channels: int, out: int) -> list[nn.Module]:
    """``out`` channels on maps of half the side: BN-ReLU-1x1, 2x2 average pool."""
    return [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, out, 1, bias=False), nn.AvgPool2d(2)]


def make(
    classes: int,
    depths: tuple[int, ...],
    growths: tuple[int, ...],
    *,
    final_bn: bool,
    shared_stages: bool,
) -> Parts:
    """Build a stem convolution to twice the growth, three dense blocks with these numbers of layers (the first two with
    transitions that halve the channels), a linear head with bias 0.
    """
    channels = 2 * growths[0]
    stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
    stages, taps = list[nn.Module](), list[int]()
    for index, (layers, growth) in enumerate(zip(depths, growths, strict=True)):
        dense = block(channels, layers, growth)
        channels += layers * growth
        if index < len(depths) - 1:
            dense += transition(channels, channels // 2)
            channels //= 2
        stages.append(nn.Sequential(*dense))
        taps.append(channels)
    neck = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU()) if final_bn else nn.ReLU()
    classifier = nn.Linear(channels, classes)
    zero_bias(classifier)
    kaiming_convolutions(nn.ModuleList([stem, *stages]), mode="fan_in")
    return Parts(
        stem,
        stages,
        ClassifierHead(classifier, channels, neck),
        split=2,
        channels=tuple(taps),
        initialise=zero_bias,
        shared_stages=shared_stages,
    )


def build(
    classes: int,
    *,
    layers: int = LAYERS,
    growth: int = GROWTH,
    final_bn: bool = True,
    shared_stages: bool = False,
) -> Parts:
    """Build three dense blocks of ``layers``: 6 * ``layers`` + 4 layers in all.

    Where branches share their stages, these have one depth.
    """
    own = partial(make, final_bn=final_bn, shared_stages=shared_stages)
    depths, growths = (layers,) * 3, (growth,) * 3
    return own(classes, depths, growths) if shared_stages else staged(own, classes, depths=depths, widths=growths)


def zero_bias(layer: nn.Linear) -> None:
    """Linear layers keep torch's weights and start without bias."""
    nn.init.zeros_(layer.bias)


def make_plain(classes: int, depths: tuple[int, ...], growths: tuple[int, ...]) -> Parts:
    """Build three dense blocks without bottlenecks; a transition, which keeps the channels, begins its stage.

    So the taps are FFSD's: the raw concatenations of the first two blocks.
    """
    channels = 2 * growths[0]
    stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
    stages, taps = list[nn.Module](), list[int]()
    for index, (depth, growth) in enumerate(zip(depths, growths, strict=True)):
        layers = transition(channels, channels) if index else []
        layers += [PlainLayer(channels + layer * growth, growth) for layer in range(depth)]
        channels += depth * growth
        stages.append(nn.Sequential(*layers))
        taps.append(channels)
    kaiming_convolutions(nn.ModuleList([stem, *stages]))
    head = ClassifierHead(nn.Linear(channels, classes), channels, nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU()))
    return Parts(stem, stages, head, split=2, channels=tuple(taps))


def build_plain(classes: int) -> Parts:
    """Build three dense blocks of 12 layers without bottlenecks."""
    return staged(make_plain, classes, depths=(PLAIN_LAYERS,) * 3, widths=(GROWTH,) * 3)


ARCHITECTURES = [
    Architecture("densenet40_12_bc", "DenseNet-40-12", build),
    Architecture("densenet40_12_bc_shared", "DenseNet-40-12", partial(build, shared_stages=True)),
    Architecture("densenet40_12_bc_nofinalbn", "DenseNet-40-12", partial(build, final_bn=False)),
    Architecture("densenet40_12_plain", "DenseNet-40-12", build_plain),
    Architecture("densenet190_40_bc", "DenseNet-BC (190, 40)", partial(build, layers=31, growth=40)),
]

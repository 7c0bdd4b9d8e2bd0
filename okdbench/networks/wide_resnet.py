"""Wide ResNets for 32x32 images (Zagoruyko & Komodakis 2016): pre-activation, widths 16k/32k/64k, strides 1/2/2.

Papers print WRN-d-k for two networks. That of MCL, L-MCL and DML (``wrn16_2`` ..) has no biases and its stride on the
first convolution of a block. That of FFSD and DCCL has biases, its stride on the second (so more arithmetic), and
projects the raw input. FFSD and DCCL differ in turn: the last batch normalisation of FFSD has momentum 0.9, its
convolutions are drawn Kaiming-normal, while the code of DCCL leaves both as torch has them (``.._dccl``, and
``wrn28_10_bias`` and ``wrn22_8_bias``, which only DCCL's code makes, with dropout). That of SwitOKD is FFSD's, drawn
otherwise (``wrn16_2_switokd``, and ``wrn16_1_bias``, ``wrn16_8_bias``, ``wrn16_10_bias``, which only its code makes).
DCM's is that of MCL, drawn otherwise (``wrn28_10_dcm``).
"""

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn.functional import relu

from okdbench.networks.base import Architecture, ClassifierHead, Parts, kaiming_convolutions, staged

STEM = 16
Block = Callable[[int, int, int], nn.Module]
"""Makes a block from its input channels, width and stride."""
Maker = Callable[[int, tuple[int, ...], tuple[int, ...]], Parts]
"""Makes a network from its classes, and the depth and width of every stage."""


class PlainBlock(nn.Module):
    """BN-ReLU-3x3 with the stride, BN-ReLU-3x3; where the channels change, a 1x1 convolution of the activated input."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False) if channels != width else None

    def forward(self, x: Tensor) -> Tensor:
        """F(x) + shortcut, the main path first."""
        active = relu(self.bn1(x))
        out = self.conv2(relu(self.bn2(self.conv1(active))))
        return out + (self.shortcut(active) if self.shortcut else x)  # type: ignore[no-any-return]


class BiasBlock(nn.Module):
    """BN-ReLU-3x3, dropout, BN-ReLU-3x3 with the stride; where the shape changes, a 1x1 convolution of the raw input.

    Every convolution has a bias.
    """

    def __init__(self, channels: int, width: int, stride: int, *, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1)
        same = stride == 1 and channels == width
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """F(x) + shortcut(x), the main path first."""
        out = self.conv2(relu(self.bn2(self.dropout(self.conv1(relu(self.bn1(x)))))))
        return out + self.shortcut(x)  # type: ignore[no-any-return]


def assemble_wide(
    classes: int,
    depths: tuple[int, ...],
    widths: tuple[int, ...],
    block: Block,
    *,
    bias: bool,
    momentum: float = 0.1,
) -> Parts:
    """Build a stem of 16 channels, three stages with these numbers of blocks, final BN and ReLU as neck, a linear head.

    ``momentum`` is that of the final batch normalisation.
    """
    stem = nn.Conv2d(3, STEM, 3, padding=1, bias=bias)
    channels, stages = STEM, list[nn.Module]()
    for index, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        blocks = list[nn.Module]()
        for position in range(depth):
            blocks.append(block(channels, width, 2 if index and not position else 1))
            channels = width
        stages.append(nn.Sequential(*blocks))
    neck = nn.Sequential(nn.BatchNorm2d(channels, momentum=momentum), nn.ReLU())
    return Parts(stem, stages, ClassifierHead(nn.Linear(channels, classes), channels, neck), split=2, channels=widths)


def make_plain(classes: int, depths: tuple[int, ...], widths: tuple[int, ...]) -> Parts:
    """As in MCL and L-MCL: Kaiming-normal convolutions, classifier bias 0 (the code of MCL x4 leaves it as torch's)."""
    parts = assemble_wide(classes, depths, widths, PlainBlock, bias=False)
    kaiming_convolutions(nn.ModuleList([parts.stem, *parts.stages]))
    nn.init.zeros_(parts.head.classifier.bias)  # type: ignore[arg-type]
    return parts


def make_dcm(classes: int, depths: tuple[int, ...], widths: tuple[int, ...]) -> Parts:
    """As in DCM: all weights Kaiming-normal by fan-in, but those of batch normalisation, uniform in (0, 1)."""
    parts = assemble_wide(classes, depths, widths, PlainBlock, bias=False)
    for layer in nn.ModuleList([parts.stem, *parts.stages, parts.head]).modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight)
    nn.init.zeros_(parts.head.classifier.bias)  # type: ignore[arg-type]
    return parts


def make_ffsd(classes: int, depths: tuple[int, ...], widths: tuple[int, ...]) -> Parts:
    """With biases, as in FFSD: Kaiming-normal convolutions, momentum 0.9 in the final BN."""
    parts = assemble_wide(classes, depths, widths, partial(BiasBlock, dropout=0.0), bias=True, momentum=0.9)
    kaiming_convolutions(nn.ModuleList([parts.stem, *parts.stages]))
    return parts


def make_switokd(classes: int, depths: tuple[int, ...], widths: tuple[int, ...]) -> Parts:
    """With biases, as in SwitOKD: Xavier-uniform convolutions (gain sqrt 2), biases 0, momentum 0.9 in the final BN."""
    parts = assemble_wide(classes, depths, widths, partial(BiasBlock, dropout=0.0), bias=True, momentum=0.9)
    for layer in nn.ModuleList([parts.stem, *parts.stages]).modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(2.0))
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return parts


def make_dccl(classes: int, depths: tuple[int, ...], widths: tuple[int, ...]) -> Parts:
    """With biases, as in DCCL: torch's initialisation, and dropout 0.3 unless the widening is 2."""
    dropout = 0.0 if widths[0] == 2 * STEM else 0.3
    return assemble_wide(classes, depths, widths, partial(BiasBlock, dropout=dropout), bias=True)


def build(classes: int, *, make: Maker, depth: int, widening: int) -> Parts:
    """Return a network of (depth - 4) / 6 blocks in each of three stages; DCM thins the last of them."""
    blocks = (depth - 4) // 6
    widths = tuple(STEM * widening * 2**index for index in range(3))
    return staged(make, classes, depths=(blocks,) * 3, widths=widths, thinned=(blocks, blocks, blocks // 2))


def _named(suffix: str, make: Maker, *sizes: tuple[int, int]) -> list[Architecture]:
    return [
        Architecture(f"wrn{depth}_{k}{suffix}", f"WRN-{depth}-{k}", partial(build, make=make, depth=depth, widening=k))
        for depth, k in sizes
    ]


ARCHITECTURES = [
    *_named("", make_plain, (16, 2), (40, 2), (28, 4), (28, 10)),
    *_named("_bias", make_ffsd, (16, 2), (40, 2)),
    *_named("_dccl", make_dccl, (16, 2), (40, 2)),
    *_named("_bias", make_dccl, (22, 8), (28, 10)),
    *_named("_bias", make_switokd, (16, 1), (16, 8), (16, 10)),
    *_named("_switokd", make_switokd, (16, 2)),
    *_named("_dcm", make_dcm, (28, 10)),
]

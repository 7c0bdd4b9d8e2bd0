"""GoogLeNet for 32x32 images with batch normalisation, as in FFSD: nine inception blocks on maps of 32, 16 and 8."""

from functools import partial

import torch
from torch import Tensor, nn

from okdbench.networks.base import Architecture, ClassifierHead, Parts, kaiming_convolutions

STEM = 192
STAGES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
"""Channels of each block: 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; after the pool."""


def biased_convolution(channels: int, out: int, kernel: int) -> list[nn.Module]:
    """Return a convolution with bias that keeps the side, BN, ReLU."""
    return [nn.Conv2d(channels, out, kernel, padding=kernel // 2), nn.BatchNorm2d(out), nn.ReLU()]


class Inception(nn.Module):
    """Four paths side by side: 1x1; 1x1, 3x3; 1x1, two 3x3 (for a 5x5); 3x3 max-pool, 1x1."""

    def __init__(self, channels: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        one, reduced_three, three, reduced_five, five, pooled = sizes
        conv = partial(biased_convolution, channels)
        self.paths = nn.ModuleList(
            nn.Sequential(*path)
            for path in (
                conv(one, 1),
                [*conv(reduced_three, 1), *biased_convolution(reduced_three, three, 3)],
                [
                    *conv(reduced_five, 1),
                    *biased_convolution(reduced_five, five, 3),
                    *biased_convolution(five, five, 3),
                ],
                [nn.MaxPool2d(3, stride=1, padding=1), *conv(pooled, 1)],
            )
        )
        self.channels = one + three + five + pooled

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, sum of the paths, H, W]."""
        return torch.cat([path(x) for path in self.paths], dim=1)


def build(classes: int) -> Parts:
    """Build a stem of 192 channels, three stages (a max-pool begins the second and third), a linear head."""
    stem = nn.Sequential(*biased_convolution(3, STEM, 3))
    channels, stages, taps = STEM, list[nn.Module](), list[int]()
    for index, blocks in enumerate(STAGES):
        layers: list[nn.Module] = [nn.MaxPool2d(3, stride=2, padding=1)] if index else []
        for sizes in blocks:
            inception = Inception(channels, sizes)
            channels = inception.channels
            layers.append(inception)
        stages.append(nn.Sequential(*layers))
        taps.append(channels)
    kaiming_convolutions(nn.ModuleList([stem, *stages]))
    return Parts(stem, stages, ClassifierHead(nn.Linear(channels, classes), channels), split=2, channels=tuple(taps))


ARCHITECTURES = [Architecture("googlenet_cifar", "GoogLeNet", build)]

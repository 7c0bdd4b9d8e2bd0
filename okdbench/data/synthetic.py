"""Synthetic images in the shape of a real data set, for smoke runs when the real one is absent.

Each class is a coarse coloured pattern under noise: a network learns them within an epoch, which shows that a run works
and nothing about any method. The name always starts with ``synthetic-``, so no table can take them for the real images.
``synthetic-full-NAME`` has as many images as the real data set, so that a whole epoch takes as long.
"""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from okdbench.data.base import FULL_PREFIX, SYNTHETIC_PREFIX, Dataset, Images
from okdbench.seeds import generator

_SMALL, _FEW = (2000, 500), (200, 100)
_LARGE = 64  # pixels; images with a longer side are few
_PER_CLASS = 4
_CELLS = 4  # the pattern is this many blocks wide, so a crop shifted by a few pixels still shows it
_NOISE = 40  # largest change of a pixel value


def imitate(dataset: Dataset, full: bool = False) -> Dataset:
    """Return the synthetic stand-in of ``dataset``: its shape and constants, 2,000 + 500 images, 200 + 100 large ones.

    The number of classes is reduced if necessary, so that each has at least four training images. ``full``: as many
    images as ``dataset`` has, under another name.
    """
    train, test = _SMALL if dataset.image_size <= _LARGE else _FEW
    if full:
        train, test = dataset.train_size, dataset.test_size
    return Dataset(
        name=(FULL_PREFIX if full else SYNTHETIC_PREFIX) + dataset.name,
        title=f"synthetic images ({dataset.title} shape{' and size' if full else ''})",
        classes=dataset.classes,
        image_size=dataset.image_size,
        train_size=train,
        test_size=test,
        flip=dataset.flip,
        mean=dataset.mean,
        std=dataset.std,
        origin="made by okdbench; not real images",
        read=partial(_make, min(dataset.classes, train // _PER_CLASS), dataset.image_size, train, test),
        stands_for=dataset.stands_for or dataset.name,
    )


def _make(classes: int, size: int, train: int, test: int, _: Path) -> Images:
    """Make the images from integers only, so they are the same on every machine."""
    draws = generator(0, "synthetic", classes, size)
    patterns = torch.randint(_NOISE, 256 - _NOISE, (classes, 3, _CELLS, _CELLS), generator=draws, dtype=torch.int16)
    block = size // _CELLS
    patterns = patterns.repeat_interleave(block, dim=2).repeat_interleave(block, dim=3)
    train_labels, test_labels = torch.arange(train) % classes, torch.arange(test) % classes
    return Images(
        train=_noisy(patterns[train_labels], generator(0, "synthetic", classes, size, 1)),
        train_labels=train_labels,
        test=_noisy(patterns[test_labels], generator(0, "synthetic", classes, size, 2)),
        test_labels=test_labels,
    )


def _noisy(clean: Tensor, draws: torch.Generator) -> Tensor:
    noise = torch.randint(-_NOISE, _NOISE + 1, clean.shape, generator=draws, dtype=torch.int16)
    return (clean + noise).to(torch.uint8)

"""scikit-learn's handwritten digits: small real images that every installation has, at 32x32 pixels and as they are."""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from okdbench.data.base import Dataset, Images


def _read(side: int, _: Path) -> Images:
    """1,442 + 355 images; every fifth image of each class is a test image."""
    # Imported here because scikit-learn takes a second to load and listing data sets must not.
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = _resize(torch.from_numpy(digits.images), side)
    labels = torch.from_numpy(digits.target).long()
    test = _every_fifth(labels)
    return Images(images[~test], labels[~test], images[test], labels[test])


def _resize(digits: Tensor, side: int) -> Tensor:
    """Convert values 0..16 [N, 8, 8] to uint8 RGB [N, 3, side, side], bilinear where they grow.

    For 32 pixels the weights are multiples of 1/64, so float32 holds every product exactly and all machines round to
    the same pixels.
    """
    large = F.interpolate(digits.float().unsqueeze(1), size=(side, side), mode="bilinear", align_corners=False)
    return (large * 255 / 16).round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()


def _every_fifth(labels: Tensor) -> Tensor:
    """Return mask [N] of the 5th, 10th, 15th, ... sample of each class: a stratified split without random numbers."""
    within_class = F.one_hot(labels).cumsum(dim=0).gather(1, labels.unsqueeze(1)).squeeze(1)
    return within_class % 5 == 0


def _digits(name: str, title: str, side: int, mean: float, std: float) -> Dataset:
    """The digits at ``side`` pixels; ``mean`` and ``std`` are measured over all pixels of the training images."""
    return Dataset(
        name=name,
        title=title,
        classes=10,
        image_size=side,
        train_size=1442,
        test_size=355,
        flip=False,
        mean=(mean, mean, mean),
        std=(std, std, std),
        origin="UCI optical recognition of handwritten digits (test part), embedded in scikit-learn",
        read=partial(_read, side),
    )


# Papers crop an image with 4 pixels around it: a shift by half the width where there are 8. `plain` leaves that out.
DATASETS = [
    _digits("digits", "Digits", 32, mean=0.3051, std=0.3238),
    _digits("digits-8x8", "Digits (8x8)", 8, mean=0.3052, std=0.3760),
]

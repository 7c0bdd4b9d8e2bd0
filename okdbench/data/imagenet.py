"""ImageNet (ILSVRC 2012) as one folder of images per class, and any subset of it in the same layout.

    train/WNID/*.JPEG               WNID: the class's WordNet id, such as n01440764; sorted, they are labels 0, 1, ...
    val/WNID/*.JPEG                 the validation images, used as the test images, as the papers do

The layout of torchvision's ImageFolder, with JPEG and PNG files; hidden files are ignored. The official archive of
validation images has no folders for the classes; they must be sorted into such folders first. Too large to pack: images
are read from their files.
"""

import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import torch

from okdbench.data.base import Dataset, Files, ImageFiles
from okdbench.data.decode import image_names
from okdbench.errors import UsageError

CLASSES, TRAIN, TEST = 1000, 1_281_167, 50_000
_LAYOUT = "{train,val}/WNID/*.JPEG, a folder of images for each class"
_SHOWN = 3  # names in an error


def _find(name: str, root: Path) -> Path | None:
    path = root / name
    return path if path.is_dir() else None


def _index(exact: bool, folder: Path) -> ImageFiles:
    """Return the files of both splits; raise UsageError for different classes, or if ``exact`` for wrong counts."""
    train_classes, train = _split(folder / "train")
    test_classes, test = _split(folder / "val")
    if alone := sorted({*train_classes} ^ {*test_classes}):
        names = ", ".join(alone[:_SHOWN]) + (", ..." if len(alone) > _SHOWN else "")
        raise UsageError(f"{folder}: {len(alone)} classes are not both in train and in val ({names}); fix the folders")
    found = len(train_classes), len(train.labels), len(test.labels)
    if exact and found != (CLASSES, TRAIN, TEST):
        more = found[1] > TRAIN or found[2] > TEST
        remedy = f"remove what ImageNet does not have{_foreign(train, test)}" if more else "complete it"
        raise UsageError(
            f"{folder}: {found[0]:,} of {CLASSES:,} classes, {found[1]:,} of {TRAIN:,} train images, {found[2]:,} of "
            f"{TEST:,} val images; {remedy}, or name the folder and the data set imagenet-subset"
        )
    if found[0] > CLASSES:
        raise UsageError(f"{folder}: {found[0]:,} classes, ImageNet has {CLASSES:,}; remove the others")
    return ImageFiles(train, test, found[0])


def _split(folder: Path) -> tuple[list[str], Files]:
    """Class names, sorted, and the files of one split, by class and then by name."""
    try:
        classes = sorted(each.name for each in os.scandir(folder) if each.is_dir() and not each.name.startswith("."))
        found = [image_names(folder / name)[0] for name in classes]
        flat = [] if classes else image_names(folder)[0]
    except OSError as error:
        why = " ".join(str(error).split()) if folder.is_dir() else "no such folder"
        raise UsageError(f"{folder}: {why}; put ImageNet there as {_LAYOUT}") from error
    if flat:
        raise UsageError(
            f"{folder}: {len(flat):,} images without folders for their classes, as in the official archive; move each "
            f"into a folder of its class first, as {_LAYOUT}"
        )
    if empty := [name for name, images in zip(classes, found, strict=True) if not images]:
        raise UsageError(f"{folder / empty[0]}: has no JPEG or PNG file; put the images there, or remove the folder")
    if not classes:
        raise UsageError(f"{folder}: has no folders of classes; put ImageNet there as {_LAYOUT}")
    names = [os.fsencode(f"{name}/{image}") for name, images in zip(classes, found, strict=True) for image in images]
    labels = [label for label, images in enumerate(found) for _ in images]
    return classes, Files(folder, np.array(names, dtype=np.bytes_), torch.tensor(labels))


def _foreign(*splits: Files) -> str:
    """Name images that are not called as those of ImageNet are."""
    official = re.compile(rb".*/(n\d{8}_\d+|ILSVRC2012_val_\d{8}(_n\d{8})?)\.JPEG")
    found = [os.fsdecode(name) for files in splits for name in files.names.tolist() if not official.fullmatch(name)]
    return f" ({', '.join(found[:_SHOWN])}{', ...' if len(found) > _SHOWN else ''})" if found else ""


def _dataset(name: str, title: str, exact: bool) -> Dataset:
    return Dataset(
        name=name,
        title=title,
        classes=CLASSES,
        image_size=224,
        train_size=TRAIN,
        test_size=TEST,
        flip=True,
        # Those that torchvision's models and the papers' code use.
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        origin="ILSVRC 2012, https://image-net.org, after registration",
        index=partial(_index, exact),
        find=partial(_find, name),
        layout=f"{name}/{_LAYOUT}",
        stands_for="imagenet",
        exact=exact,
    )


DATASETS = [
    _dataset("imagenet", "ImageNet", exact=True),
    _dataset("imagenet-subset", "ImageNet (subset, as found)", exact=False),
]

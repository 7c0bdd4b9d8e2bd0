"""CIFAR-10 and CIFAR-100 through torchvision, every original file checked against its official MD5."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from okdbench.data.base import Constants, Dataset, Images
from okdbench.data.download import md5_of, wrong_md5
from okdbench.errors import UsageError

_ORIGIN = "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"


def _official(name: str) -> Any:
    """Return the torchvision class, imported late because torchvision takes a second to load."""
    from okdbench.torchvision_shim import datasets

    return {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]


def _find(folder: str, root: Path) -> Path | None:
    path = root / folder
    return path if path.is_dir() else None


def _read(name: str, folder: Path) -> Images:
    from okdbench.torchvision_shim import datasets

    official = _official(name)
    files = [*official.train_list, *official.test_list, (official.meta["filename"], official.meta["md5"])]
    wrong = [file for file, md5 in files if not datasets.utils.check_integrity(folder / file, md5)]
    if wrong:
        raise UsageError(
            f"{folder}: missing or not of the official MD5: {', '.join(wrong)}; "
            f'run "okdbench data fetch {name} --data {folder.parent}"'
        )
    train, test = official(folder.parent, train=True), official(folder.parent, train=False)
    return Images(_pixels(train), torch.tensor(train.targets), _pixels(test), torch.tensor(test.targets))


def _pixels(split: Any) -> Tensor:
    """torchvision's array uint8 [N, 32, 32, 3] as a tensor [N, 3, 32, 32]."""
    return torch.from_numpy(split.data).permute(0, 3, 1, 2).contiguous()


def _fetch(name: str, root: Path) -> None:
    """Download and unpack the official archive unless its files are there; torchvision checks the MD5."""
    official = _official(name)
    archive = root / official.filename
    wrong = archive.is_file() and (found := md5_of(archive)) != official.tgz_md5
    try:
        official(root, train=True, download=True)
    except (OSError, RuntimeError) as error:
        if wrong:
            raise UsageError(wrong_md5(archive, found, official.tgz_md5)) from error
        raise UsageError(
            f"{name}: fetching {official.url} failed ({error}); try again, or put that file into {root.absolute()} "
            f'yourself and run "okdbench data fetch {name} --data {root}" to unpack it'
        ) from error


def _cifar(name: str, title: str, classes: int, folder: str, files: str, mean: Constants, std: Constants) -> Dataset:
    return Dataset(
        name=name,
        title=title,
        classes=classes,
        image_size=32,
        train_size=50_000,
        test_size=10_000,
        flip=True,
        mean=mean,
        std=std,
        origin=_ORIGIN,
        read=partial(_read, name),
        find=partial(_find, folder),
        layout=f"{folder}/{files}",
        fetch=partial(_fetch, name),
    )


# mean and std: over all pixels of the training images; a test measures those of CIFAR-100.
DATASETS = [
    _cifar(
        "cifar10",
        "CIFAR-10",
        10,
        "cifar-10-batches-py",
        "{data_batch_1..5,test_batch,batches.meta}",
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    ),
    _cifar(
        "cifar100",
        "CIFAR-100",
        100,
        "cifar-100-python",
        "{train,test,meta}",
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    ),
]

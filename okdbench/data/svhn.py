"""SVHN's cropped digits, 32x32, as torchvision reads them; with and without the 531,131 extra training images.

Every original file is checked against its official MD5. The label of a digit is the digit; the files call 0 class 10.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from okdbench.data.base import Dataset, Images
from okdbench.data.download import download
from okdbench.errors import UsageError

SIZES = {"train": 73_257, "extra": 531_131, "test": 26_032}
_FOLDER = "svhn"


def _official() -> Any:
    """Return the torchvision class, imported late because torchvision takes a second to load."""
    from okdbench.torchvision_shim import datasets

    return datasets.SVHN


def _find(splits: tuple[str, ...], root: Path) -> Path | None:
    """Return the folder below ``root`` if it has a file of each split; their content is not checked."""
    folder = root / _FOLDER
    return folder if all((folder / f"{split}_32x32.mat").is_file() for split in splits) else None


def _intact(path: Path, md5: str) -> bool:
    from okdbench.torchvision_shim import datasets

    return bool(datasets.utils.check_integrity(path, md5))


def _read(name: str, training: tuple[str, ...], folder: Path) -> Images:
    """Return the images of the splits ``training``, one after another, and the test images."""
    files = [_official().split_list[split][1:] for split in (*training, "test")]
    if wrong := [file for file, md5 in files if not _intact(folder / file, md5)]:
        raise UsageError(
            f"{folder}: not of the official MD5: {', '.join(wrong)}; "
            f'run "okdbench data fetch {name} --data {folder.parent}"'
        )
    return Images(*_together(folder, training), *_together(folder, ("test",)))


def _together(folder: Path, splits: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Images uint8 [N, 3, 32, 32] and labels int64 [N]."""
    parts = [_official()(folder, split) for split in splits]
    images = torch.cat([torch.from_numpy(part.data) for part in parts]).contiguous()
    return images, torch.cat([torch.from_numpy(part.labels) for part in parts])


def _fetch(splits: tuple[str, ...], root: Path) -> None:
    """Download the files that are missing or damaged."""
    for split in splits:
        url, file, md5 = _official().split_list[split]
        path = root / _FOLDER / file
        if not _intact(path, md5):
            path.parent.mkdir(parents=True, exist_ok=True)
            download(url, path, md5)


def _dataset(name: str, title: str, *training: str) -> Dataset:
    splits = (*training, "test")
    return Dataset(
        name=name,
        title=title,
        classes=10,
        image_size=32,
        train_size=sum(SIZES[split] for split in training),
        test_size=SIZES["test"],
        flip=False,  # a mirrored digit is a different digit or not a digit
        # Over all pixels of the 73,257 training images, as commonly quoted; for both, since they are tested alike.
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
        origin="Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011",
        read=partial(_read, name, training),
        find=partial(_find, splits),
        layout=f"{_FOLDER}/{{{','.join(splits)}}}_32x32.mat",
        fetch=partial(_fetch, splits),
    )


DATASETS = [
    _dataset("svhn", "SVHN", "train"),
    _dataset("svhn-extra", "SVHN (with extra images)", "train", "extra"),
]

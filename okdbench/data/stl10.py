"""STL-10's labelled images, 96x96, as torchvision reads them: 5,000 for training and 8,000 for testing.

    stl10_binary/{train,test}_{X,y}.bin     every one checked against its official MD5

The 100,000 images without labels, which are most of the archive, are neither unpacked nor read, and the ten predefined
folds of the training images are not used.
"""

import shutil
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from okdbench.data.base import Dataset, Images
from okdbench.data.download import download, md5_of
from okdbench.errors import UsageError
from okdbench.files import atomic_write

_FOLDER = "stl10_binary"
_FILES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")


@cache
def _labelled(official: Any) -> Any:
    """Return torchvision's class without the images that have no labels, so that their file may be absent."""

    class Labelled(official):  # type: ignore[misc]
        train_list = official.train_list[:2]

    return Labelled


def _official() -> Any:
    """Return the class that reads the files; torchvision is imported late because it takes a second to load."""
    from okdbench.torchvision_shim import datasets

    return _labelled(datasets.STL10)


def _find(root: Path) -> Path | None:
    """Return the folder below ``root`` if it has all files; their content is not checked."""
    folder = root / _FOLDER
    return folder if all((folder / name).is_file() for name in _FILES) else None


def _read(folder: Path) -> Images:
    """Return the labelled images."""
    if wrong := _not_official(folder):
        raise UsageError(
            f"{folder}: not of the official MD5: {', '.join(wrong)}; "
            f'run "okdbench data fetch stl10 --data {folder.parent}"'
        )
    train, test = (_official()(folder.parent, split) for split in ("train", "test"))
    return Images(_pixels(train), _labels(train), _pixels(test), _labels(test))


def _pixels(split: Any) -> Tensor:
    """uint8 [N, 3, 96, 96]; the files have columns before rows, which torchvision turns round."""
    return torch.from_numpy(split.data.copy())


def _labels(split: Any) -> Tensor:
    """int64 [N] from 0; the files count from 1."""
    return torch.from_numpy(split.labels).long()


def _not_official(folder: Path) -> list[str]:
    """Return the names of files that are missing or damaged."""
    from okdbench.torchvision_shim import datasets

    files = [*_official().train_list, *_official().test_list]
    return [name for name, md5 in files if not datasets.utils.check_integrity(folder / name, md5)]


def _fetch(root: Path) -> None:
    """Download the official archive (2.6 GB), unless it is there, and unpack the labelled images that are missing."""
    folder, official = root / _FOLDER, _official()
    if not (wanted := _not_official(folder)):
        return
    archive = root / official.filename
    if not archive.is_file() or md5_of(archive) != official.tgz_md5:
        download(official.url, archive, official.tgz_md5)
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as packed:
        for member in packed:
            name = member.name.rpartition("/")[2]
            if name in wanted and (source := packed.extractfile(member)):
                with source, atomic_write(folder / name, "wb") as file:
                    shutil.copyfileobj(source, file)


DATASETS = [
    Dataset(
        name="stl10",
        title="STL-10",
        classes=10,
        image_size=96,
        train_size=5000,
        test_size=8000,
        flip=True,
        # Over all pixels of the 5,000 training images, as commonly quoted.
        mean=(0.4467, 0.4398, 0.4066),
        std=(0.2603, 0.2566, 0.2713),
        origin="Coates, Ng, Lee, An Analysis of Single-Layer Networks in Unsupervised Feature Learning, 2011",
        read=_read,
        find=_find,
        layout=f"{_FOLDER}/{{train,test}}_{{X,y}}.bin",
        fetch=_fetch,
    )
]

"""Tiny ImageNet in its official layout, from the unpacked folder or straight from the zip; and a subset of it.

    wnids.txt                       one class name (WordNet id) per line; sorted, they are the labels 0, 1, ...
    train/WNID/images/*.JPEG        500 of each class
    val/images/*.JPEG               10,000, used as the test images, as the papers do; or sorted: val/WNID/*.JPEG, or
                                    val/WNID/images/*.JPEG, as torchvision's ImageFolder reads them
    val/val_annotations.txt         file name, class name and a box, separated by tabs

The official test images have no labels and are not read.
"""

import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from okdbench.data.base import Dataset, Images
from okdbench.data.decode import LARGEST_FILE, decode_rgb, open_regular
from okdbench.data.download import download
from okdbench.errors import UsageError
from okdbench.progress import tracked

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
_SIZE = 64
_SHOWN = 3  # names in an error


@dataclass(frozen=True)
class Layout:
    """What a complete tree holds: its folder's name, and how many classes and images; ``again`` says how to get it."""

    name: str
    folder: str
    again: str
    classes: int = 200
    train_per_class: int = 500
    val_per_class: int = 50

    def find(self, root: Path) -> Path | None:
        """Return the unpacked folder below ``root``, else the zip, else None."""
        for path in (root / self.folder, root / f"{self.folder}.zip"):
            if path.exists():
                return path
        return None

    def read(self, path: Path) -> Images:
        """Return all images of the folder or zip ``path``; raise UsageError if it is incomplete or damaged."""
        try:
            with _opened(path, self.folder) as files:
                return self._read(files)
        except (zipfile.BadZipFile, zlib.error) as error:
            raise UsageError(f"{path}: damaged zip ({error}); delete it and {self.again}") from error

    def _read(self, files: "_Files") -> Images:
        classes = sorted(files.text("wnids.txt").split())
        label = {wnid: i for i, wnid in enumerate(classes)}
        train = list(_train(files, label))
        val = list(_val(files, label))
        self._check_complete(files, classes, train, val)
        pixels = _decode(files, [name for name, _ in train + val])
        return Images(
            train=pixels[: len(train)],
            train_labels=torch.tensor([i for _, i in train]),
            test=pixels[len(train) :],
            test_labels=torch.tensor([i for _, i in val]),
        )

    def _check_complete(
        self, files: "_Files", classes: list[str], train: list[tuple[str, int]], val: list[tuple[str, int]]
    ) -> None:
        wanted = Counter(dict.fromkeys(range(self.classes), self.train_per_class))
        wanted_val = Counter(dict.fromkeys(range(self.classes), self.val_per_class))
        if Counter(i for _, i in train) == wanted and Counter(i for _, i in val) == wanted_val:
            return
        if len(train) > wanted.total() or len(val) > wanted_val.total():
            foreign = sorted(name for name, _ in train + val if not _official(name))
            shown = f": {', '.join(foreign[:_SHOWN])}{', ...' if len(foreign) > _SHOWN else ''}" if foreign else ""
            raise UsageError(
                f"{files.path}: {len(train):,} train and {len(val):,} val images, {self.name} has {wanted.total():,} "
                f"and {wanted_val.total():,}; remove the files that it does not have{shown}"
            )
        raise UsageError(
            f"{files.path}: incomplete {self.name}: {len(classes)} of {self.classes} classes in wnids.txt, "
            f"{len(train):,} of {wanted.total():,} train images, {len(val):,} of {wanted_val.total():,} val images "
            f"({self.train_per_class} and {self.val_per_class} of each class); delete it and {self.again}"
        )


def _official(name: str) -> bool:
    """Return whether an image is called as those of Tiny ImageNet are: by its class, or val, and a number."""
    parts = name.split("/")
    return bool(re.fullmatch(rf"({re.escape(parts[1])}|val)_\d+\.JPEG", parts[-1]))


@dataclass(frozen=True)
class _Files:
    """The files of a tree, in a folder or a zip, by their names relative to its top folder."""

    path: Path
    names: frozenset[str]
    content: Callable[[str], bytes]

    def text(self, name: str) -> str:
        """Return the file as text; empty if there is no such file; the count of images then reveals it."""
        return self.content(name).decode(errors="replace") if name in self.names else ""


@contextmanager
def _opened(path: Path, folder: str) -> Iterator[_Files]:
    if path.is_dir():
        names = (
            (Path(parent).relative_to(path) / file).as_posix() for parent, _, files in os.walk(path) for file in files
        )
        yield _Files(path, _visible(names), lambda name: _regular(path / name))
        return
    with zipfile.ZipFile(path) as archive:
        top = f"{folder}/"
        names = (name.removeprefix(top) for name in archive.namelist() if name.startswith(top))
        yield _Files(path, _visible(names), lambda name: _member(archive, top + name))


def _visible(names: Iterable[str]) -> frozenset[str]:
    """Return the names without those of hidden files, which some systems leave beside others."""
    return frozenset(name for name in names if not name.rpartition("/")[2].startswith("."))


def _regular(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read(LARGEST_FILE + 1)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a file of the archive; OSError if it is larger than an image can be."""
    if archive.getinfo(name).file_size > LARGEST_FILE:
        raise OSError(f"{name} has {archive.getinfo(name).file_size:,} bytes")
    return archive.read(name)


def _train(files: _Files, label: dict[str, int]) -> Iterator[tuple[str, int]]:
    """(file, label) of each training image, by class and then by file name."""
    for name in sorted(files.names):
        match name.split("/"):
            case ["train", wnid, "images", file] if wnid in label and file.endswith(".JPEG"):
                yield name, label[wnid]


def _val(files: _Files, label: dict[str, int]) -> Iterator[tuple[str, int]]:
    """(file, label) of each validation image, in the order of val_annotations.txt, which is that of their numbers."""
    sorted_by_class: dict[str, tuple[str, str]] = {}
    for name in files.names:
        match name.split("/"):
            case ["val", wnid, file] | ["val", wnid, "images", file] if wnid in label and file.endswith(".JPEG"):
                sorted_by_class[file] = name, wnid
    if sorted_by_class:
        for file in sorted(sorted_by_class, key=lambda file: (len(file), file)):
            name, wnid = sorted_by_class[file]
            yield name, label[wnid]
        return
    for line in files.text("val/val_annotations.txt").splitlines():
        match line.split("\t"):
            case [file, wnid, *_] if wnid in label and f"val/images/{file}" in files.names:
                yield f"val/images/{file}", label[wnid]


def _decode(files: _Files, names: list[str]) -> Tensor:
    """Return uint8 RGB images [N, 3, 64, 64], decoded in threads: the JPEG decoder releases Python's lock."""
    import numpy as np

    pixels = np.empty((len(names), _SIZE, _SIZE, 3), dtype=np.uint8)

    def decode(i: int) -> None:
        try:
            decoded = np.asarray(decode_rgb(files.content(names[i])))
        except (OSError, ValueError) as error:
            raise UsageError(f"{files.path}: {names[i]} is not a readable image ({error}); get it again") from error
        if decoded.shape != pixels.shape[1:]:
            raise UsageError(f"{files.path}: {names[i]} is {decoded.shape[1]} x {decoded.shape[0]} pixels, not 64 x 64")
        pixels[i] = decoded

    with ThreadPoolExecutor() as pool:
        for _ in tracked(pool.map(decode, range(len(names))), "reading images", len(names)):
            pass
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _fetch(root: Path) -> None:
    """Download the official zip (248 MB), from which the images are then read, unless the images are there."""
    if _OFFICIAL.find(root) is None:
        download(URL, root / f"{_OFFICIAL.folder}.zip", MD5)


def _dataset(layout: Layout, title: str, origin: str, fetch: Callable[[Path], None] | None) -> Dataset:
    return Dataset(
        name=layout.name,
        title=title,
        classes=layout.classes,
        image_size=_SIZE,
        train_size=layout.classes * layout.train_per_class,
        test_size=layout.classes * layout.val_per_class,
        flip=True,
        # Over all pixels of the training images, as commonly quoted; the subset: .476 .447 .398, .277 .269 .282.
        mean=(0.4802, 0.4481, 0.3975),
        std=(0.2770, 0.2691, 0.2821),
        origin=origin,
        read=layout.read,
        find=layout.find,
        layout=f"{layout.folder}/{{wnids.txt,train,val}} or {layout.folder}.zip",
        fetch=fetch,
        stands_for="tiny-imagenet",
    )


_OFFICIAL = Layout("tiny-imagenet", "tiny-imagenet-200", again='run "okdbench data fetch tiny-imagenet"')
_SUBSET = Layout(
    "tiny-imagenet-subset", "tiny-imagenet-200-subset", again="unpack it again", train_per_class=25, val_per_class=5
)

DATASETS = [
    _dataset(_OFFICIAL, "Tiny ImageNet", f"Stanford CS231N, {URL}", _fetch),
    _dataset(_SUBSET, "Tiny ImageNet (subset)", "25 training and 5 validation images of each class", None),
]

"""Each data set packed once into one file of uint8 tensors, which opens without copying and is verified before use.

    DATA/packed/NAME.pt           torch.save of a dict of tensors
    DATA/packed/NAME.pt.sha256    its checksum, as ``sha256sum -c`` reads it; written last, so it marks a complete pack
    DATA/packed/NAME.pt.lock      held while packing, so that several processes pack once

Where the data folder cannot be written, OKDBENCH_PACKED names another folder than DATA/packed. ``pack`` writes them,
``load_packed`` opens the first after verifying it against the second.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from okdbench.data.base import Dataset, ImageFiles, Images
from okdbench.data.registry import get
from okdbench.errors import UsageError
from okdbench.files import atomic_write, open_own
from okdbench.progress import progress

PACKED_VARIABLE = "OKDBENCH_PACKED"
_FORMAT = 1  # increase when a reader returns different tensors for the same files
_CHUNK = 1 << 22
_TENSORS = ("train", "train_labels", "test", "test_labels")


class Status(NamedTuple):
    """The state of a data set: ``packed`` or ``corrupt`` (a packed file), ``found`` (original files only), ``absent``.

    ``path`` is the packed file, else where the original files are, else the folder looked in. Images that need no files
    are always at least found.
    """

    state: Literal["packed", "found", "absent", "corrupt"]
    path: Path


def packed_file(name: str, root: Path) -> Path:
    """Return where data set ``name`` is packed: in the folder of OKDBENCH_PACKED, else in the data folder ``root``."""
    place = os.environ.get(PACKED_VARIABLE)
    return (Path(place).expanduser() if place else root / "packed") / f"{name}.pt"


def load_packed(name: str, root: Path) -> Images:
    """Return the images of data set ``name`` below the data folder ``root``, memory-mapped; packed first if need be.

    The checksum is verified once per process. Raise UsageError for an unknown name, missing or incomplete original
    files, and a packed file that is damaged or cut short.
    """
    path = pack(name, root)
    if not _intact(path):
        # Another process may be replacing the file just now; a folder without write access has no such process.
        with suppress(OSError), _locked(path):
            pass
        if not _intact(path):
            raise UsageError(f"{path}: damaged or cut short (its checksum differs); {_repack(name, root)}")
    content = torch.load(str(path), mmap=True, weights_only=True)
    if (content.get("format"), content.get("name")) != (_FORMAT, name):
        raise UsageError(f"{path}: packed by another version of okdbench, or not {name}; {_repack(name, root)}")
    return Images(**{key: content[key] for key in _TENSORS})


def pack(name: str, root: Path, force: bool = False) -> Path:
    """Pack data set ``name`` unless it is packed (``force``: even then) and return the packed file, not verified.

    Raise UsageError for an unknown name, missing or incomplete original files, images that are not packed at all, or a
    folder that cannot be written.
    """
    dataset = get(name)
    if dataset.read is None:
        raise UsageError(f"{name}: too large to pack; training reads its files directly, so there is nothing to do")
    path = packed_file(name, root)
    if not force and _packed(path):
        return path
    found = dataset.found(root)
    if found is None:
        raise dataset.missing(root)
    try:
        with _locked(path):
            if force or not _packed(path):
                _write(path, name, _checked(dataset, dataset.read(found)))
    except OSError as error:
        raise UsageError(
            f"{path}: packing failed ({error}); correct it, or choose a folder for packed files with --packed DIR"
        ) from error
    return path


def listed(name: str, root: Path) -> ImageFiles:
    """Return the image files of data set ``name``, which is too large to pack, below ``root``; no image is opened.

    Raise UsageError for an unknown name, absent or incomplete files, and a data set that is packed.
    """
    dataset = get(name)
    if dataset.index is None:
        raise UsageError(f"{name}: is packed, not read from files; load_packed it")
    found = dataset.found(root)
    if found is None:
        raise dataset.missing(root)
    return dataset.index(found)


def check(name: str, root: Path) -> None:
    """Pack and verify all images that training needs, or list their files; raise UsageError if that fails."""
    if get(name).streamed:
        listed(name, root)
    else:
        load_packed(name, root)


def present(name: str, root: Path) -> bool:
    """Return whether the images are there, packed or not; checks names only."""
    return get(name).found(root) is not None or _packed(packed_file(name, root))


def packing_state(name: str, root: Path) -> Status:
    """Return the state of data set ``name`` below ``root``; reads a whole packed file to verify its checksum."""
    dataset = get(name)
    path = packed_file(name, root)
    if _packed(path):
        return Status("packed" if _intact(path) else "corrupt", path)
    found = dataset.found(root)
    return Status("absent", root) if found is None else Status("found", found)


def _repack(name: str, root: Path) -> str:
    return f'run "okdbench data pack {name} --force --data {root}"'


def _checked(dataset: Dataset, images: Images) -> Images:
    """Return ``images`` if counts, shape, type and labels are those that ``dataset`` declares."""
    for part, labels, count in (
        (images.train, images.train_labels, dataset.train_size),
        (images.test, images.test_labels, dataset.test_size),
    ):
        shape = (count, 3, dataset.image_size, dataset.image_size)
        if part.dtype != torch.uint8 or part.shape != shape or labels.dtype != torch.int64 or len(labels) != count:
            raise UsageError(f"{dataset.name}: read {tuple(part.shape)} images and {len(labels)} labels, not {shape}")
        if int(labels.min()) < 0 or int(labels.max()) >= dataset.classes:
            raise UsageError(f"{dataset.name}: labels are not all in 0..{dataset.classes - 1}")
    return images


def _write(path: Path, name: str, images: Images) -> None:
    """Write the file and its checksum. After a crash at any moment the checksum is missing. The lock must be held."""
    _sidecar(path).unlink(missing_ok=True)
    for left_by_a_crash in path.parent.glob(f".{path.name}.*.tmp"):
        left_by_a_crash.unlink()
    content = {"format": _FORMAT, "name": name, **{key: getattr(images, key) for key in _TENSORS}}
    with atomic_write(path, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # as torch reports a full disk
            raise OSError(f"writing stopped, is the disk full? {error}") from error
    with atomic_write(_sidecar(path)) as file:
        file.write(f"{_sha256(path)}  {path.name}\n")


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _packed(path: Path) -> bool:
    return path.is_file() and _sidecar(path).is_file()


def _intact(path: Path) -> bool:
    """Return whether the packed file has the checksum beside it."""
    try:
        return _sidecar(path).read_text().split()[:1] == [_sha256(path)]
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def _sha256(path: Path) -> str:
    facts = path.stat()
    return _sha256_of(path.absolute(), facts.st_ino, facts.st_size, facts.st_mtime_ns)


@lru_cache
def _sha256_of(path: Path, inode: int, size: int, modified: int) -> str:
    """Computed once per process for a file that does not change: inode, size and time are part of the cache's key."""
    digest = hashlib.sha256()
    with path.open("rb") as file, progress(f"verifying {path.name}", size, in_bytes=True) as advance:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(open_own(path.with_name(f"{path.name}.lock")), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""Writing files so that a crash never leaves half of one."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from okdbench.errors import UsageError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where a disk, or a user's share of it, is full."""


_TEMPORARY = ".tmp"
LARGEST_JSON = 2**24
"""Bytes that a JSON file of somebody else has at most."""


class DiskFull(UsageError):
    """A file could not be written because the disk is full."""


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Raise DiskFull, which names the file, where the disk has no room for what this context writes."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DiskFull(f"disk full: {path}; make room and give the same command again") from None


def open_new(path: Path, mode: str = "w") -> IO[Any]:
    """Create a file and open it, in UTF-8; one that a process with the same number has left is replaced."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    return os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8")


def open_own(path: Path, flags: int = os.O_RDWR) -> int:
    """Open a file of a folder of ours, made if need be, and return its descriptor; nothing is cut off.

    Raise UsageError where somebody has put a symbolic link in its place, which would lead the writing elsewhere.
    """
    try:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UsageError(f"{path}: is a symbolic link, which okdbench never makes here; delete it") from None


def open_to_append(path: Path) -> IO[str]:
    """Open a text file of a folder of ours to add lines to it; see `open_own`."""
    return os.fdopen(open_own(path, os.O_WRONLY | os.O_APPEND), "a", buffering=1, encoding="utf-8", errors="replace")


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file of a folder of ours, on disk before this returns; see `open_own`."""
    with naming_full_disk(path), open_to_append(path) as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def atomic_write(path: Path, mode: str = "w", durable: bool = True) -> Iterator[IO[Any]]:
    """Open a temporary neighbour of ``path``; when the block ends without error, fsync it and rename it into place.

    If not ``durable``, this does not wait until the disk has it: a machine that fails may lose it.
    """
    if path.exists() and not path.is_file():  # a folder, or a device that others need
        raise OSError(errno.EINVAL, "is not a file", str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        with naming_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_new(temporary, mode) as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def clear_temporaries(folder: Path, *names: str) -> None:
    """Remove what processes that were killed left behind while they wrote files of these names (or patterns)."""
    for name in names:
        for path in folder.glob(f".{name}.*{_TEMPORARY}"):
            path.unlink(missing_ok=True)


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """Write ``value`` as readable JSON with sorted keys, as `atomic_write` does."""
    with atomic_write(path, durable=durable) as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.write("\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; OSError or ValueError if it is absent or damaged, for instance has a key twice."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_keys_once)
    except RecursionError:
        raise ValueError("brackets within brackets without end") from None


def _keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f'"{next(name for name in names if names.count(name) > 1)}" is there twice')
    return found


def unlike_a_file(path: Path, largest: int | None = None) -> str | None:
    """Return why something that somebody else sent is not to be opened, with the remedy; None if it is not there.

    Only a regular file of at most ``largest`` bytes is; a link may lead anywhere, and a pipe never ends.
    """
    found = _own_status(path)
    if wrong := _unlike(found, stat.S_IFREG, "file"):
        return wrong
    if found and largest and found.st_size > largest:
        return f"has more than {largest >> 20:,} MiB, which no run writes; ask its sender for the file"
    return None


def unlike_a_folder(path: Path) -> str | None:
    """Return why something that somebody else sent is no folder to look into; see `unlike_a_file`."""
    return _unlike(_own_status(path), stat.S_IFDIR, "folder")


def _own_status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _unlike(found: os.stat_result | None, wanted: int, what: str) -> str | None:
    if found is None or stat.S_IFMT(found.st_mode) == wanted:
        return None
    how = "a symbolic link" if stat.S_ISLNK(found.st_mode) else f"no {what}"
    return f"is {how}; send the {what} itself"

"""Writing files so that a crash never leaves half of one."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from okdbench.errors import UsageError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where a disk, or a user's share of it, is full."""


_TEMPORARY = ".tmp"


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


@contextmanager
def atomic_write(path: Path, mode: str = "w", durable: bool = True) -> Iterator[IO[Any]]:
    """Open a temporary neighbour of ``path``; when the block ends without error, fsync it and rename it into place.

    If not ``durable``, this does not wait until the disk has it: a machine that fails may lose it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        with naming_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open(mode) as file:
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
    """Read a JSON file; OSError or ValueError if it is absent or damaged."""
    return json.loads(path.read_text())

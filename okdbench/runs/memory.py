"""What has been read from a file, kept in this process until the file changes: one command asks for it many times."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

_Read = TypeVar("_Read")
_Key = tuple[int, int, int, int]
YOUNG = 2.0
"""Seconds in which a file may change again without a later time of change."""


class Memory(Generic[_Read]):
    """Values read from files."""

    def __init__(self) -> None:
        self._values: dict[tuple[Path, str], tuple[_Key, _Read]] = {}

    def get(self, path: Path, read: Callable[[], _Read], what: str = "") -> _Read:
        """Return what ``read`` makes of the file, now or in an earlier call; ``what`` tells kinds of values apart."""
        found = path.stat()
        key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        kept = self._values.get((path, what))
        if kept and kept[0] == key:
            return kept[1]
        value = read()
        if time.time() - found.st_mtime > YOUNG:
            self._values[path, what] = (key, value)
        return value

"""What has been read from a file, kept in this process until the file changes: one command asks for it many times."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from okdbench.shelf import identity

_Read = TypeVar("_Read")


class Memory(Generic[_Read]):
    """Values read from files."""

    def __init__(self) -> None:
        self._values: dict[tuple[Path, str], tuple[str, _Read]] = {}

    def get(self, path: Path, read: Callable[[], _Read], what: str = "") -> _Read:
        """Return what ``read`` makes of the file, now or in an earlier call; ``what`` tells kinds of values apart."""
        now = identity([path])
        kept = self._values.get((path, what))
        if kept and now and kept[0] == now:
            return kept[1]
        value = read()
        if now:
            self._values[path, what] = (now, value)
        return value

"""Hashes of runs' metrics, while the files stay the same: kept in this process and, for commands that look at many
runs, between commands.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from okdbench.runs.memory import Memory
from okdbench.shelf import Shelf, identity


def sha256_of(metrics: Path) -> str:
    """Return the hash of a run's metrics; OSError where they cannot be read."""
    return _hashes(metrics.parent.parent.absolute()).of(metrics)


def read_with_hash(metrics: Path) -> tuple[bytes, str]:
    """Return the content of a run's metrics and its hash, from one reading unless the hash is known already."""
    content: list[bytes] = []
    found = _hashes(metrics.parent.parent.absolute()).of(metrics, content.append)
    return content[0] if content else metrics.read_bytes(), found


@contextmanager
def kept_hashes(*recipes: Path) -> Iterator[None]:
    """Use what earlier commands have kept of the runs in recipes' folders; at the end, keep what was read, if much.

    Without it a file is read at least once, as a check of records must.
    """
    hashes = [_hashes(recipe.absolute()) for recipe in recipes]
    for each in hashes:
        each.from_shelf = True
    try:
        yield
    finally:
        for each in hashes:
            each.from_shelf = False
    for each in hashes:
        each.shelf.keep()


class _Hashes:
    """The hashes of the metrics in one recipe's folder."""

    def __init__(self, recipe: Path) -> None:
        self.shelf = Shelf("hashes", recipe)
        self.from_shelf = False
        self._memory = Memory[str]()

    def of(self, metrics: Path, seen: Callable[[bytes], None] = lambda content: None) -> str:
        """Return the hash of a file; ``seen`` gets its content if it had to be read."""
        return self._memory.get(metrics, lambda: self._read(metrics, seen))

    def _read(self, metrics: Path, seen: Callable[[bytes], None]) -> str:
        name, now = metrics.parent.name, identity([metrics])
        if self.from_shelf and now and (kept := self.shelf.get(name, now)):
            return kept.decode()
        content = metrics.read_bytes()
        seen(content)
        found = hashlib.sha256(content).hexdigest()
        self.shelf.put(name, now, found.encode())
        return found


@cache
def _hashes(recipe: Path) -> _Hashes:
    return _Hashes(recipe)

"""Hashes of runs' metrics, while the files stay the same: kept in this process and, for commands that look at many
runs, between commands.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from okdbench.runs.memory import Memory
from okdbench.shelf import Shelf, identity


def sha256_of(metrics: Path) -> str:
    """Return the hash of a run's metrics; OSError where they cannot be read."""
    return _hashes(metrics.parent.parent.absolute()).of(metrics)


def read_with_hash(metrics: Path) -> tuple[bytes, str]:
    """Return the content of a run's metrics and its hash, from one reading; OSError where they cannot be read."""
    return _hashes(metrics.parent.parent.absolute()).read(metrics)


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

    def of(self, metrics: Path) -> str:
        """Return the hash of a file."""
        return self._memory.get(metrics, lambda: self._kept(metrics) or self.read(metrics)[1])

    def read(self, metrics: Path) -> tuple[bytes, str]:
        """Return content and hash of a file, which is read now."""
        now = identity([metrics])  # before the content: a file that changes meanwhile must not count as this one
        content = metrics.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        self.shelf.put(metrics.parent.name, now, found.encode())
        return content, found

    def _kept(self, metrics: Path) -> str:
        """Return the hash that the shelf has; "" where that may not be used, or is of another file."""
        found = self.from_shelf and self.shelf.get(metrics.parent.name, identity([metrics]))
        return found.decode() if found else ""


@cache
def _hashes(recipe: Path) -> _Hashes:
    return _Hashes(recipe)

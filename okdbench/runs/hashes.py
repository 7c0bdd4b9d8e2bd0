"""Hashes of runs' metrics, kept while the files stay the same: in this process and, for commands that look at many
runs, in a table.

Reading gigabytes of metrics takes long, so the table of a recipe's runs is in the user's cache folder. An entry counts
only for a file of the same identity, size and times of change.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from okdbench.errors import UsageError
from okdbench.files import atomic_write, clear_temporaries
from okdbench.kept import cache_folder
from okdbench.runs.memory import YOUNG

WORTH_KEEPING = 100
"""Files that have to be read before the table is written."""
_TABLE = TypeAdapter(dict[str, tuple[str, str]])


def sha256_of(metrics: Path) -> str:
    """Return the hash of a run's metrics; OSError where they cannot be read."""
    return _hashes(metrics.parent.parent.absolute()).of(metrics)


@contextmanager
def kept_hashes(*recipes: Path) -> Iterator[None]:
    """Use what earlier commands have kept of the runs in recipes' folders; at the end, keep what was read, if much."""
    tables = [_hashes(recipe.absolute()) for recipe in recipes]
    for table in tables:
        table.read()
    yield
    for table in tables:
        table.write()


class _Hashes:
    """What the metrics in one recipe's folder were like, and their hashes, by the name of the run."""

    def __init__(self, recipe: Path) -> None:
        self._path = cache_folder("hashes") / f"{hashlib.sha256(str(recipe).encode()).hexdigest()[:32]}.json"
        self._known: dict[str, tuple[str, str]] = {}
        self._new = 0

    def of(self, metrics: Path) -> str:
        """Return the hash of a file."""
        found = metrics.stat()
        now = f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
        before, known = self._known.get(metrics.parent.name, ("", ""))
        if before == now:
            return known
        value = hashlib.sha256(metrics.read_bytes()).hexdigest()
        if time.time() - found.st_mtime > YOUNG:
            self._known[metrics.parent.name] = now, value
            self._new += 1
        return value

    def read(self) -> None:
        """Read the table; what this process has read itself comes before it."""
        with suppress(OSError, ValidationError):
            self._known = {**_TABLE.validate_json(self._path.read_bytes()), **self._known}

    def write(self) -> None:
        """Write the table if many files are new in it; what cannot be written is read again next time."""
        if self._new < WORTH_KEEPING:
            return
        clear_temporaries(self._path.parent, self._path.name)
        with suppress(OSError, UsageError), atomic_write(self._path, "wb", durable=False) as file:
            file.write(_TABLE.dump_json(self._known))
            self._new = 0


@cache
def _hashes(recipe: Path) -> _Hashes:
    return _Hashes(recipe)

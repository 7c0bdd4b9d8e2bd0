"""The accuracy of a run after every epoch: from its metrics or, while these are unchanged, from a table of them.

Reading and checking millions of epochs takes minutes. What has been read of a recipe's many runs is therefore kept, as
one table of numbers in the user's cache folder. An entry counts only for a record and metrics of the same sizes and
times of change; the record itself is always read.
"""

import hashlib
import itertools
import json
import math
import time
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from okdbench import __version__
from okdbench.errors import UsageError
from okdbench.files import atomic_write, clear_temporaries
from okdbench.kept import cache_folder
from okdbench.runs.folder import METRICS, RECORD, RunFolder
from okdbench.runs.records import EpochAccuracy, HeadAccuracy

if TYPE_CHECKING:
    import pandas as pd

WORTH_KEEPING = 100
"""Runs that have to be read before the table is written."""
_YOUNG = 2.0
"""Seconds in which a file may change again without a later time of change."""


@dataclass(frozen=True)
class Curves:
    """Top-1 accuracy in percent, [epochs, heads]: on the test images, and on those held out, if there are any."""

    test: "pd.DataFrame"
    validation: "pd.DataFrame | None"


def curves(run: RunFolder) -> Curves:
    """Return those of a run that is done; raise UsageError if its metrics are damaged."""
    return _table(run.path.parent.absolute()).of(run)


def keep(recipe: Path) -> None:
    """Keep what has been read of the runs in a recipe's folder, where that is much."""
    _table(recipe.absolute()).write()


class _Table:
    """The runs of one recipe's folder by name: what their files were like, and their numbers."""

    def __init__(self, recipe: Path) -> None:
        self._path = cache_folder("curves") / f"{hashlib.sha256(str(recipe).encode()).hexdigest()[:32]}.npz"
        self._known: dict[str, tuple[str, Curves]] = {}
        self._new = 0
        with suppress(OSError, EOFError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile):
            self._read()

    def of(self, run: RunFolder) -> Curves:
        """Return a run's curves."""
        now = _files(run.path)
        before, found = self._known.get(run.path.name, ("", None))
        if found and before == now:
            return found
        epochs = _accuracies(run)
        held_out = [each.get("validation") or {} for each in epochs]
        validation = _as_table(held_out) if held_out and held_out[0] else None
        found = Curves(_as_table([each["heads"] for each in epochs]), validation)
        if now:
            self._known[run.path.name] = now, found
            self._new += 1
        return found

    def write(self) -> None:
        """Write the table if many runs are new in it; what cannot be written is read again next time."""
        if self._new < WORTH_KEEPING:
            return
        entries: dict[str, Any] = {}
        numbers: list[npt.NDArray[np.float64]] = []
        for name, (files, found) in self._known.items():
            tables = [found.test, *([] if found.validation is None else [found.validation])]
            entries[name] = [files, [[len(table), list(table.columns)] for table in tables]]
            numbers += [table.to_numpy().ravel() for table in tables]
        header = json.dumps({"okdbench": __version__, "runs": entries}).encode()
        clear_temporaries(self._path.parent, self._path.name)
        with suppress(OSError, UsageError), atomic_write(self._path, "wb", durable=False) as file:
            np.savez(file, header=np.frombuffer(header, np.uint8), numbers=np.concatenate(numbers))
            self._new = 0

    def _read(self) -> None:
        import pandas as pd

        with np.load(self._path, allow_pickle=False) as stored:
            header, numbers = json.loads(stored["header"].tobytes()), stored["numbers"]
        if header["okdbench"] != __version__:
            return
        known, place = {}, 0
        for name, (files, shapes) in header["runs"].items():
            tables = []
            for epochs, heads in shapes:
                part = numbers[place : place + epochs * len(heads)].reshape(epochs, len(heads))
                tables.append(pd.DataFrame(part, columns=heads, copy=False))
                place += part.size
            known[name] = files, Curves(tables[0], tables[1] if len(tables) > 1 else None)
        self._known = known


def _accuracies(run: RunFolder) -> Sequence[EpochAccuracy]:
    """Return the accuracies after each epoch, in order; raise UsageError for damage.

    Of metrics that are, by the hash in the record, what the worker has written, nothing else is looked at.
    """
    record = run.record
    if record and record.metrics_sha256 and record.metrics_sha256 == run.metrics_sha256:
        lines = (run.path / METRICS).read_bytes().splitlines()
        with suppress(ValidationError):
            found = _model().validate_json(b"[" + b",".join(lines) + b"]")
            if [each["epoch"] for each in found] == list(range(record.epochs)):
                return found
    return [cast(EpochAccuracy, epoch.model_dump()) for epoch in run.epochs]


@cache
def _model() -> TypeAdapter[list[EpochAccuracy]]:
    return TypeAdapter(list[EpochAccuracy])


def _as_table(epochs: Sequence[Mapping[str, HeadAccuracy]]) -> "pd.DataFrame":
    import pandas as pd

    heads = list(dict.fromkeys(itertools.chain.from_iterable(epochs)))
    rows = [[epoch[head]["top1"] if head in epoch else math.nan for head in heads] for epoch in epochs]
    return pd.DataFrame(np.array(rows, float).reshape(len(rows), len(heads)), columns=heads)


@cache
def _table(recipe: Path) -> _Table:
    return _Table(recipe)


def _files(run: Path) -> str:
    """Return sizes and times of change of what the numbers are from; "" if that may not be all, as of new files."""
    found = [path.stat() for path in (run / RECORD, run / METRICS) if path.exists()]
    if len(found) < 2 or time.time() - max(each.st_mtime for each in found) < _YOUNG:
        return ""
    return " ".join(f"{each.st_size} {each.st_mtime_ns}" for each in found)

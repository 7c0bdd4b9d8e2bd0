"""The accuracy of a run after every epoch: from its metrics or, while these are unchanged, from what was kept of them.

Reading and checking millions of epochs takes minutes. What has been read of a recipe's many runs is therefore kept in
the user's cache folder (`okdbench.shelf`). It counts only for a record and metrics of the same identities, sizes and
times of change; the record itself is always read.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from pydantic import TypeAdapter, ValidationError

from okdbench.runs.folder import METRICS, RECORD, RunFolder
from okdbench.runs.records import EpochAccuracy, HeadAccuracy
from okdbench.shelf import Shelf, identity

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Curves:
    """Top-1 accuracy in percent, [epochs, heads]: on the test images, and on those held out, if there are any."""

    test: "pd.DataFrame"
    validation: "pd.DataFrame | None"


def curves(run: RunFolder) -> Curves:
    """Return those of a run that is done; raise UsageError if its metrics are damaged."""
    shelf, files = _shelf(run.path.parent.absolute()), identity([run.path / RECORD, run.path / METRICS])
    if kept := shelf.get(run.path.name, files):
        with suppress(ValueError, TypeError, IndexError):  # written by other code that called itself the same version
            return _unpacked(kept)
    epochs = _accuracies(run)
    held_out = [each.get("validation") or {} for each in epochs]
    validation = _as_table(held_out) if held_out and held_out[0] else None
    found = Curves(_as_table([each["heads"] for each in epochs]), validation)
    shelf.put(run.path.name, files, _packed(found))
    return found


def keep(recipe: Path) -> None:
    """Keep what has been read of the runs in a recipe's folder, where that is much."""
    _shelf(recipe.absolute()).keep()


def _packed(found: Curves) -> bytes:
    """Return the tables as bytes: the numbers, and a line of JSON with their epochs and heads."""
    tables = [found.test, *([] if found.validation is None else [found.validation])]
    shapes = json.dumps([[len(table), list(table.columns)] for table in tables])
    return b"".join(table.to_numpy().tobytes() for table in tables) + f"\n{shapes}".encode()


def _unpacked(content: bytes) -> Curves:
    """Return the tables of `_packed`."""
    import pandas as pd

    tables, place = [], 0
    for epochs, heads in _shapes(content[content.rindex(b"\n") :]):
        numbers = np.frombuffer(content, float, epochs * len(heads), place).reshape(epochs, len(heads))
        tables.append(pd.DataFrame(numbers, columns=heads, copy=False))
        place += numbers.nbytes
    return Curves(tables[0], tables[1] if len(tables) > 1 else None)


@cache
def _shapes(line: bytes) -> "list[tuple[int, pd.Index[str]]]":
    """Return epochs and heads of tables, the same objects for all runs, since pandas takes long to make them."""
    import pandas as pd

    return [(epochs, pd.Index(heads)) for epochs, heads in json.loads(line)]


def _accuracies(run: RunFolder) -> Sequence[EpochAccuracy]:
    """Return the accuracies after each epoch, in order; raise UsageError for damage.

    Of metrics that are, by the hash in the record, what the worker has written, nothing else is looked at.
    """
    record = run.record
    if record and record.metrics_sha256 and record.metrics_sha256 == run.metrics_sha256:
        lines = (run.path / METRICS).read_bytes().rstrip(b"\n").replace(b"\n", b",")
        with suppress(ValidationError):
            found = _model().validate_json(b"[" + lines + b"]")
            if [each["epoch"] for each in found] == list(range(record.epochs)):
                return found
    return [cast(EpochAccuracy, epoch.model_dump()) for epoch in run.epochs]


@cache
def _model() -> TypeAdapter[list[EpochAccuracy]]:
    return TypeAdapter(list[EpochAccuracy])


def _as_table(epochs: Sequence[Mapping[str, HeadAccuracy]]) -> "pd.DataFrame":
    import pandas as pd

    heads = list(dict.fromkeys(itertools.chain.from_iterable(epochs)))
    numbers = [epoch[head]["top1"] if head in epoch else math.nan for epoch in epochs for head in heads]
    return pd.DataFrame(np.array(numbers, float).reshape(len(epochs), len(heads)), columns=heads)


@cache
def _shelf(recipe: Path) -> Shelf:
    return Shelf("curves", recipe)

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
from typing import Annotated

import msgspec
import numpy as np

from okdbench.results.protocol import Accuracy
from okdbench.runs.folder import METRICS, RECORD, RunFolder
from okdbench.runs.records import MOST_PERCENT
from okdbench.shelf import Shelf, identity


class _HeadMetrics(msgspec.Struct, gc=False):
    """Of `HeadMetrics` only the accuracy, in percent."""

    top1: Annotated[float, msgspec.Meta(ge=0, le=MOST_PERCENT)]


class _Line(msgspec.Struct, gc=False):
    """Of an `Epoch` only the accuracies; a line is read several times as fast."""

    epoch: int
    heads: dict[str, _HeadMetrics]
    validation: dict[str, _HeadMetrics] | None = None


_LINES = msgspec.json.Decoder(_Line)


@dataclass(frozen=True)
class Curves:
    """Accuracy on the test images, and on those held out, if there are any."""

    test: Accuracy
    validation: Accuracy | None


def curves(run: RunFolder) -> Curves:
    """Return those of a run that is done; raise UsageError if its metrics are damaged."""
    shelf, files = _shelf(run.path.parent.absolute()), identity([run.path / RECORD, run.path / METRICS])
    if kept := shelf.get(run.path.name, files):
        with suppress(ValueError, TypeError, IndexError):  # written by other code that called itself the same version
            return _unpacked(kept)
    lines = _lines(run)
    held_out = [each.validation or {} for each in lines]
    validation = _as_table(held_out) if held_out and held_out[0] else None
    found = Curves(_as_table([each.heads for each in lines]), validation)
    shelf.put(run.path.name, files, _packed(found))
    return found


def keep(recipe: Path) -> None:
    """Keep what has been read of the runs in a recipe's folder, where that is much."""
    _shelf(recipe.absolute()).keep()


def _packed(found: Curves) -> bytes:
    """Return the tables as bytes: the numbers, and a line of JSON with their epochs and heads."""
    tables = [found.test, *([] if found.validation is None else [found.validation])]
    shapes = json.dumps([[len(table.values), table.heads] for table in tables])
    return b"".join(table.values.tobytes() for table in tables) + f"\n{shapes}".encode()


def _unpacked(content: bytes) -> Curves:
    """Return the tables of `_packed`."""
    tables, place = [], 0
    for epochs, heads in _shapes(content[content.rindex(b"\n") :]):
        numbers = np.frombuffer(content, float, epochs * len(heads), place).reshape(epochs, len(heads))
        tables.append(Accuracy(heads, numbers))
        place += numbers.nbytes
    return Curves(tables[0], tables[1] if len(tables) > 1 else None)


@cache
def _shapes(line: bytes) -> list[tuple[int, tuple[str, ...]]]:
    """Return epochs and heads of tables, which many runs have in common."""
    return [(epochs, tuple(heads)) for epochs, heads in json.loads(line)]


def _lines(run: RunFolder) -> Sequence[_Line]:
    """Return the accuracies after each epoch, in order; raise UsageError for damage.

    Of metrics that are, by the hash in the record, what the worker has written, nothing else is looked at.
    """
    record = run.record
    if record and (written := run.written_metrics):
        with suppress(msgspec.DecodeError):
            found = _LINES.decode_lines(written)
            if [each.epoch for each in found] == list(range(record.epochs)):
                return found
    return [msgspec.convert(epoch.model_dump(), _Line) for epoch in run.epochs]


def _as_table(epochs: Sequence[Mapping[str, _HeadMetrics]]) -> Accuracy:
    heads = tuple(dict.fromkeys(itertools.chain.from_iterable(epochs)))
    numbers = [epoch[head].top1 if head in epoch else math.nan for epoch in epochs for head in heads]
    return Accuracy(heads, np.array(numbers, float).reshape(len(epochs), len(heads)))


@cache
def _shelf(recipe: Path) -> Shelf:
    return Shelf("curves", recipe)

"""Curves of trainings in the stores of other tools. Each store is one module of this folder, found by its name.

The results folder is the source: `okdbench.tracking.base` reads the metrics of a run's folder and brings them to
trackers, while the run is trained or afterwards. This module loads a tracker only when it is asked for by name, so
that naming them all is cheap.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from okdbench.errors import UsageError
from okdbench.plugins import Catalog

if TYPE_CHECKING:
    from okdbench.runs.records import State


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers see it: its id, recipe and folder's name, and its settings as text."""

    id: str
    recipe: str
    name: str
    settings: Mapping[str, str]


class Tracker(Protocol):
    """A store of curves. Whatever its methods raise ends the tracking with a warning, and never a training.

    All calls come from one thread, those of different runs in any order.
    """

    see: str
    """How to look at the curves, as a command line or an address."""

    def begin(self, run: TrackedRun) -> None:
        """Begin the curves of a run again: those in the store are replaced."""

    def add(self, run: TrackedRun, epoch: int, time: float, values: Mapping[str, float]) -> None:
        """Add the values of an epoch, counted from 1, that ended at ``time`` (seconds since 1970).

        The names are ``top1/HEAD`` and further metrics of every head, ``loss/TERM``, and ``training/loss``,
        ``training/learning_rate`` and ``training/images_per_second``.
        """

    def end(self, run: TrackedRun, state: "State") -> None:
        """Close the curves of a run, which stands as ``state`` says, and may continue later unless that is final."""


@dataclass(frozen=True)
class TrackerKind:
    """A kind of store: its name, and the function that opens one at a place ("" for the usual one).

    The function raises UsageError where a package or the place is missing. A module of this folder assigns the kind to
    ``TRACKER``, as does the file of a plugin; an installed package announces it under ``okdbench.tracking``.
    """

    name: str
    open: Callable[[str], Tracker]


_CATALOG = Catalog(__name__, __path__, "TRACKER", "tracker", TrackerKind)


def available() -> tuple[str, ...]:
    """Return the names of all trackers, sorted."""
    return tuple(_CATALOG.names())


def open_trackers(texts: Iterable[str]) -> dict[str, Tracker]:
    """Open the trackers that are named as NAME or NAME:PLACE, by that text; raise UsageError where one cannot be."""
    found: dict[str, Tracker] = {}
    for text in texts:
        name, _, place = text.partition(":")
        try:
            found[text] = _CATALOG.get(name).open(place)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"{text}: cannot be opened ({' '.join(str(error).split())}); correct its place") from error
    return found

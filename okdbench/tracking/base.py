"""Following run folders: what a run has written is read again, and what is new is brought to the trackers.

Nothing is remembered but what this process has brought, so a run that is killed and continued has one curve without
gaps and without a point twice: a process that begins to follow it begins its curves again.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path

from okdbench.errors import UsageError
from okdbench.runs.folder import METRICS, RunFolder
from okdbench.runs.records import Epoch, State
from okdbench.tracking import TrackedRun, Tracker

PATIENCE = 60.0
"""Seconds that the end of a session waits for a tracker that is behind."""


def described(folder: RunFolder) -> TrackedRun:
    """Return the run of a folder as trackers see it."""
    config = folder.config
    return TrackedRun(config.id, folder.recipe, folder.path.name, dict(_flat(config.model_dump(mode="json"))))


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", str(value)


def curve_points(epoch: Epoch) -> dict[str, float]:
    """Return what trackers show of an epoch, by the names that `Tracker.add` lists."""
    found = {
        "training/loss": sum(epoch.losses.values()),
        "training/learning_rate": epoch.lr,
        "training/images_per_second": epoch.images_per_second,
    }
    found |= {f"loss/{term}": value for term, value in epoch.losses.items()}
    for prefix, heads in (("", epoch.heads), ("validation_", epoch.validation or {})):
        for head, metrics in heads.items():
            found |= {f"{prefix}{name}/{head}": value for name, value in metrics.model_dump().items()}
    return found


class RunCurves:
    """The curves of one run in one tracker, as far as this process has brought them there."""

    def __init__(self, tracker: Tracker, run: TrackedRun) -> None:
        self._tracker, self._run = tracker, run
        self._brought: list[Epoch] = []

    def bring(self, epochs: Sequence[Epoch], now: float) -> None:
        """Bring those ``epochs`` of the run that are new; the last of them ended at ``now``.

        Where the run goes back to a checkpoint, the epochs after it are trained again: their points stay until others
        come, and are then replaced.
        """
        known, epochs = len(self._brought), list(epochs)
        if epochs == self._brought[: len(epochs)]:
            return
        if not known or epochs[:known] != self._brought:
            self._tracker.begin(self._run)
            known = 0
        ends = list(accumulate((each.seconds for each in epochs), initial=0.0))[1:]
        for epoch, end in zip(epochs[known:], ends[known:], strict=True):
            self._tracker.add(self._run, epoch.epoch + 1, now - ends[-1] + end, curve_points(epoch))
        self._brought = epochs

    def end(self, state: State) -> None:
        """Close the curves, if there are any."""
        if self._brought:
            self._tracker.end(self._run, state)


def bring_all(folders: Iterable[RunFolder], trackers: Mapping[str, Tracker]) -> Iterator[int]:
    """Bring the curves of runs to trackers, whatever the runs' states; yield after each run its number of epochs.

    Raise UsageError for a run that is damaged, and where a tracker fails.
    """
    for folder in folders:
        epochs = folder.epochs
        for name, tracker in trackers.items() if epochs else ():
            curves = RunCurves(tracker, described(folder))
            try:
                curves.bring(epochs, (folder.path / METRICS).stat().st_mtime)
                curves.end(folder.state)
            except Exception as error:
                raise UsageError(f"{name}: {folder}: {_line(error)}") from error
        yield len(epochs)


class Follower:
    """Follows runs while they are trained, in a thread of its own, so that a slow tracker holds up nothing.

    ``warn`` is called with a line where a tracker fails, which then gets nothing more. A context manager, whose end
    waits `PATIENCE` seconds at most for what is left.
    """

    def __init__(self, trackers: Mapping[str, Tracker], warn: Callable[[str], object]) -> None:
        self._trackers, self._warn = dict(trackers), warn
        self._curves: dict[Path, dict[str, RunCurves]] = {}
        self._read: dict[Path, tuple[int, int]] = {}
        self._events = queue.SimpleQueue[tuple[RunFolder, bool] | None]()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "Follower":
        if self._trackers:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread.is_alive():
            self._events.put(None)
            self._thread.join(PATIENCE)
            if self._thread.is_alive():
                self._warn(f"{', '.join(self._trackers)}: behind, and left so after {PATIENCE:.0f} s")

    def advanced(self, folder: RunFolder) -> None:
        """Take note that a run that this process trains has perhaps written an epoch."""
        self._events.put((folder, False))

    def ended(self, folder: RunFolder) -> None:
        """Take note that nobody works on the run any more."""
        self._events.put((folder, True))

    def _work(self) -> None:
        while event := self._events.get():
            folder, ended = event
            self._bring(folder)
            if ended:
                state = folder.state
                for name, curves in self._curves.pop(folder.path, {}).items():
                    self._guarded(name, partial(curves.end, state))

    def _bring(self, folder: RunFolder) -> None:
        """Bring what is new; a folder that is damaged or gone is reported by whoever trains it."""
        try:
            found = (folder.path / METRICS).stat()
            stamp = (found.st_size, found.st_mtime_ns)
            if not self._trackers or stamp == self._read.get(folder.path):
                return
            epochs, run = folder.epochs, described(folder)
        except (UsageError, OSError):
            return
        self._read[folder.path] = stamp
        curves = self._curves.setdefault(folder.path, {name: RunCurves(t, run) for name, t in self._trackers.items()})
        for name, each in curves.items():
            self._guarded(name, partial(each.bring, epochs, found.st_mtime))

    def _guarded(self, name: str, act: Callable[[], None]) -> None:
        """Call a tracker that has not failed yet."""
        if name not in self._trackers:
            return
        try:
            act()
        except Exception as error:
            del self._trackers[name]
            self._warn(f"{name}: gets no more curves ({_line(error)}); the training continues")


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())

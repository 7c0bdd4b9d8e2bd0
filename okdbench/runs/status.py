"""Where a run stands, read from the files in its folder: for people who look on while it is trained elsewhere."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from okdbench.config import LearningConfig
from okdbench.errors import UsageError
from okdbench.runs.folder import CONFIG, METRICS, PROGRESS, RunFolder
from okdbench.runs.records import Epoch, State

SILENCE = 60.0
"""Seconds without a step after which people are told how long it is."""
_END = 2**14
"""Bytes at the end of a file of metrics in which its last two lines are looked for at first."""
_WITH_REASON = (State.failed, State.diverged, State.damaged)


@dataclass(frozen=True)
class RunStatus:
    """A run, seen from outside.

    ``since`` (seconds since 1970): when the attempt began, of a run that is trained, or when it ended, of one that is
    not done. ``accuracy`` (percent, of ``head``) is that of the last epoch, ``images_per_second`` the speed of
    training, ``left`` the seconds that a run in training still needs, ``reason`` why it failed, diverged or is damaged.
    ``host`` trains it, and its last step was ``idle`` seconds ago.
    """

    folder: RunFolder
    state: State
    epochs_done: int
    epochs: int | None
    since: float | None = None
    head: str | None = None
    accuracy: float | None = None
    images_per_second: float | None = None
    left: float | None = None
    reason: str | None = None
    host: str | None = None
    idle: float | None = None

    @property
    def title(self) -> str:
        """What the name of the folder says: ``cifar100 resnet32 dkel s0``."""
        return " ".join(self.folder.path.name.split(".")[:-1]) or self.folder.path.name

    def facts(self) -> dict[str, Any]:
        """Return the same for programs."""
        id = self.folder.path.name.rpartition(".")[2]
        return {"id": id, **vars(self), "folder": self.folder.path, "title": self.title}


def read_status(folder: RunFolder) -> RunStatus:
    """Return where the run of this folder stands; damage is a state."""
    state = folder.state
    reason = folder.reason if state in _WITH_REASON else None
    if state is State.damaged or not folder.exists:
        return RunStatus(folder, state, folder.epochs_done, None, reason=reason)
    try:
        return _done(folder, state, reason) if state.done else _begun(folder, state, reason)
    except UsageError as error:  # the configuration
        return RunStatus(folder, State.damaged, folder.epochs_done, None, reason=str(error))


def _begun(folder: RunFolder, state: State, reason: str | None) -> RunStatus:
    last, snapshot, holder = _last_epoch(folder.path / METRICS), folder.progress, folder.holder
    return RunStatus(
        folder,
        state,
        epochs_done=last.epoch + 1 if last else 0,
        epochs=folder.config.epochs,
        since=holder.since if holder else _since(folder, state),
        head=snapshot.head if snapshot else None,
        accuracy=snapshot.accuracy if snapshot else None,
        images_per_second=snapshot.images_per_second if snapshot else None,
        left=_left(folder, last) if state.under_way else None,
        reason=reason,
        host=holder.host if holder else None,
        idle=holder.idle if holder else None,
    )


def _done(folder: RunFolder, state: State, reason: str | None) -> RunStatus:
    record = folder.learned
    epochs = folder.config.epochs
    if not record:  # it learns nothing
        return RunStatus(folder, state, epochs, epochs, reason=reason)
    last = _last_epoch(folder.path / METRICS)
    top1 = last.heads[record.deployed].top1 if last and record.deployed in last.heads else None
    return RunStatus(
        folder, state, record.epochs, epochs, None, record.deployed, top1, record.images_per_second, reason=reason
    )


def _last_epoch(path: Path) -> Epoch | None:
    """Return the last epoch in a file of metrics, whose last line may be torn; only its end is read."""
    try:
        with path.open("rb") as file:
            size, length = file.seek(0, os.SEEK_END), 0
            lines: list[bytes] = []
            while len(lines) < 3 and length < size:  # the first of three may be a part of one
                length = min(2 * length or _END, size)
                file.seek(-length, os.SEEK_END)
                lines = file.read().splitlines()
    except OSError:
        return None
    return next(_valid(reversed(lines[-2:])), None)


def _valid(lines: Iterator[bytes]) -> Iterator[Epoch]:
    for line in lines:
        try:
            yield Epoch.model_validate_json(line)
        except ValueError:
            continue


def _since(folder: RunFolder, state: State) -> float | None:
    """Return when the last attempt ended."""
    if state is State.failed and (failure := folder.failure) and failure.time:
        return failure.time
    names = {State.interrupted: (PROGRESS, METRICS, CONFIG), State.failed: (CONFIG,)}
    times = [(folder.path / name).stat().st_mtime for name in names.get(state, ()) if (folder.path / name).exists()]
    return max(times, default=None)


def _left(folder: RunFolder, last: Epoch | None) -> float | None:
    """Return the seconds that a run in training needs at the pace of its last epoch, or of its steps before that."""
    snapshot, config = folder.progress, folder.config
    if not snapshot or not isinstance(config, LearningConfig):
        return None
    if last:
        seconds = last.seconds
    elif snapshot.images_per_second > 0:
        seconds = snapshot.steps * config.training.batch_size / snapshot.images_per_second
    else:
        return None
    return (snapshot.epochs - snapshot.position) * seconds

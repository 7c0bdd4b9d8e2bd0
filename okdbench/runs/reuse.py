"""Runs that several recipes share: what one recipe has trained, another takes over instead of training it again.

Every recipe keeps a complete copy, so that its folder can be read and published by itself.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from okdbench.config import Configuration
from okdbench.errors import UsageError
from okdbench.files import atomic_write
from okdbench.runs.folder import CONFIG, METRICS, PROGRESS, RECORD, RunFolder
from okdbench.runs.records import State
from okdbench.runs.weights import has_final_weights


def done_duplicate(config: Configuration, folder: RunFolder, weights: bool = False) -> RunFolder | None:
    """Another recipe's folder in which the run is done and whole; with ``weights``, one that has the weights too."""
    candidates = (each for each in _duplicates(folder) if _whole(each, config))
    return next((each for each in candidates if not weights or has_final_weights(each)), None)


def running_duplicate(folder: RunFolder) -> RunFolder | None:
    """Another recipe's folder in which a worker trains the run of ``folder`` now."""
    undone = (each for each in _duplicates(folder) if not (each.path / RECORD).exists())
    return next((each for each in undone if each.state is State.running), None)


def take_over(source: RunFolder, folder: RunFolder) -> State:
    """Copy a done run into the folder of the same run under another recipe; the state of that folder afterwards.

    The folder's lock is held meanwhile and the record is written last, so that other processes, also after a crash,
    find the run either done and whole or not done. A folder that another process works in, or has finished, is left
    alone.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.locked() as held:
        if held and not (folder.path / RECORD).exists():
            folder.clear_failure()
            folder.clear_unfinished()
            for stale in (folder.path / PROGRESS, folder.weights):
                stale.unlink(missing_ok=True)
            if source.weights.exists():
                _link(source.weights, folder.weights)
            for name in (CONFIG, METRICS, RECORD):
                if (source.path / name).exists():
                    _copy(source.path / name, folder.path / name)
        return folder.state


def _duplicates(folder: RunFolder) -> Iterator[RunFolder]:
    """The folders of the same run under other recipes: RESULTS/RECIPE/RUN, where RUN is the same for all."""
    mine = folder.path.parent
    for recipe in sorted(mine.parent.iterdir()) if mine.parent.is_dir() else ():
        if recipe != mine and (recipe / folder.path.name).is_dir():
            yield RunFolder(recipe / folder.path.name)


def _whole(folder: RunFolder, config: Configuration) -> bool:
    """Return whether the run is done and its files agree; damage is reported by the recipe that owns the folder."""
    try:
        record = folder.record
        return record is not None and record.id == config.id and len(folder.epochs) == record.epochs
    except UsageError:
        return False


def _link(source: Path, target: Path) -> None:
    """Give the file a second name, since weights are never changed in place; copy where links are not supported."""
    try:
        os.link(source, target)
    except OSError:
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as original, atomic_write(target, "wb") as copy:
        shutil.copyfileobj(original, copy)

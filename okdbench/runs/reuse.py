"""Runs that several recipes share: what one recipe has trained, another takes over instead of training it again.

Every recipe keeps a complete copy, so that its folder can be read and published by itself.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from okdbench.config import Configuration
from okdbench.errors import UsageError
from okdbench.files import atomic_write
from okdbench.runs.folder import CONFIG, METRICS, PROGRESS, RECORD, RunFolder
from okdbench.runs.lease import EXPIRY, Lease, LeaseWatch, clear, held
from okdbench.runs.records import State
from okdbench.runs.weights import has_final_weights

_PAUSE = 0.1
"""Seconds between two looks at another recipe's lease."""


def done_duplicate(config: Configuration, folder: RunFolder, weights: bool = False) -> RunFolder | None:
    """Another recipe's folder in which the run is done and whole; with ``weights``, one that has the weights too."""
    candidates = (each for each in duplicates(folder) if _whole(each, config))
    return next((each for each in candidates if not weights or has_final_weights(each)), None)


def running_duplicate(folder: RunFolder) -> RunFolder | None:
    """Another recipe's folder in which a worker trains the run of ``folder`` now."""
    undone = (each for each in duplicates(folder) if not (each.path / RECORD).exists())
    return next((each for each in undone if each.state.under_way), None)


def take_over(source: RunFolder, folder: RunFolder, weights: bool = True) -> State:
    """Copy a done run into the folder of the same run under another recipe; the state of that folder afterwards.

    Without ``weights`` these are left out. The folder's lease is held meanwhile. A folder that another process works
    in, or has finished, is left alone.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    with held(folder.path) as lease:
        if lease and not (folder.path / RECORD).exists():
            _copy_run(source, folder, weights)
    return folder.state


def is_ours(config: Configuration, folder: RunFolder, lease: Lease, stop: Callable[[], bool]) -> bool:
    """Return whether the holder of the lease of ``folder`` is to do its run, and not another recipe's.

    False where another recipe's process does it, or ``stop`` says so. What another recipe has done since the engine
    wrote ``config.json``, which it does when it starts a worker, is copied.
    """
    for other in duplicates(folder):
        watch = LeaseWatch(other.path)
        # Of two that have leases and have not decided, the first in the alphabet will; it waits for the other to yield.
        while holder := watch.holder:
            if holder.decided or other.path < folder.path or stop():
                return False
            if watch.silent > EXPIRY:
                clear(watch)
            time.sleep(_PAUSE)
            watch.look()
    lease.decide()
    duplicate = done_duplicate(config, folder, weights=bool(config.datasets))
    if duplicate and _written(duplicate.path / RECORD) > _written(folder.path / CONFIG):
        _copy_run(duplicate, folder)
    return True


def _written(path: Path) -> int:
    """Return when a file was written, by the clock of the disk."""
    return path.stat().st_mtime_ns


def _copy_run(source: RunFolder, folder: RunFolder, weights: bool = True) -> None:
    """Copy a done run into a folder whose lease is held.

    The record is written last, so that other processes, also after a crash, find the run either done or not done.
    """
    folder.clear_failure()
    folder.clear_unfinished()
    for stale in (folder.path / PROGRESS, folder.weights):
        stale.unlink(missing_ok=True)
    if weights and source.weights.exists():
        _link(source.weights, folder.weights)
    for name in (CONFIG, METRICS, RECORD):
        if (source.path / name).exists():
            _copy(source.path / name, folder.path / name)
        else:
            (folder.path / name).unlink(missing_ok=True)


def duplicates(folder: RunFolder) -> Iterator[RunFolder]:
    """The folders of the same run under other recipes: RESULTS/RECIPE/RUN, where RUN is the same for all."""
    mine = folder.path.parent
    for recipe in sorted(mine.parent.iterdir()) if mine.parent.is_dir() else ():
        if recipe != mine and (path := recipe / folder.path.name).is_dir() and recipe.resolve() != mine.resolve():
            yield RunFolder(path)


def _whole(folder: RunFolder, config: Configuration) -> bool:
    """Return whether the run is done and its files agree; damage is reported by the recipe that owns the folder."""
    try:
        record = folder.record
        return record is not None and record.id == config.id and len(folder.epochs) == record.epochs
    except UsageError:
        return False


def _link(source: Path, target: Path) -> None:
    """Give the file a second name, since weights are never changed in place; copy where links are not supported.

    What a symbolic link leads to is copied: the link may lead nowhere tomorrow.
    """
    if source.is_symlink():
        _copy(source, target)
        return
    try:
        os.link(source, target)
    except OSError:
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    try:
        original = source.open("rb")
    except OSError as error:
        raise UsageError(f"{source}: cannot be read ({error.strerror}); make it readable") from None
    with original, atomic_write(target, "wb") as copy:
        shutil.copyfileobj(original, copy)
        found = os.fstat(original.fileno())
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))

"""Runs that several recipes have in common: what one recipe has trained, another takes over and does not train again.

Every recipe keeps a whole copy, so that its folder can be read and published by itself.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from okdbench.config import Configuration
from okdbench.errors import UsageError
from okdbench.files import atomic_write
from okdbench.runs.folder import CHECKPOINTS, CONFIG, FAILURE, METRICS, PROGRESS, RECORD, WEIGHTS, locked
from okdbench.runs.records import State, read_metrics, read_record, state


def done_twin(config: Configuration, folder: Path, weights: bool = False) -> Path | None:
    """Another recipe's folder in which the run is done and whole, with its weights where they are asked for."""
    wanted = (twin for twin in _twins(folder) if not weights or (twin / WEIGHTS).exists())
    return next((twin for twin in wanted if _whole(twin, config)), None)


def running_twin(folder: Path) -> Path | None:
    """Another recipe's folder in which a worker trains the run of ``folder`` now."""
    return next((twin for twin in _twins(folder) if not (twin / RECORD).exists() and state(twin) == "running"), None)


def take_over(twin: Path, folder: Path) -> State:
    """Copy a done run into the folder of the same run under another recipe; the state of that folder afterwards.

    The folder's lock is held meanwhile and the record comes last: whoever looks, or comes after a crash, finds the
    run either done and whole or not done. A folder that another process works in, or has finished, is left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder) as held:
        if held and not (folder / RECORD).exists():
            for left in (folder / FAILURE, folder / PROGRESS, folder / WEIGHTS, *folder.glob(CHECKPOINTS)):
                left.unlink(missing_ok=True)
            if (twin / WEIGHTS).exists():
                _link(twin / WEIGHTS, folder / WEIGHTS)
            for name in (CONFIG, METRICS, RECORD):
                if (twin / name).exists():
                    _copy(twin / name, folder / name)
        return state(folder)


def _twins(folder: Path) -> Iterator[Path]:
    """The folders of the same run under other recipes: RESULTS/RECIPE/RUN, where RUN is the same for all."""
    results = folder.parent.parent
    for recipe in sorted(results.iterdir()) if results.is_dir() else ():
        if recipe != folder.parent and (recipe / folder.name).is_dir():
            yield recipe / folder.name


def _whole(folder: Path, config: Configuration) -> bool:
    """Whether the run is done and its files fit one another; what is damaged is for its own recipe to tell."""
    try:
        record = read_record(folder)
        metrics = read_metrics(folder)
    except UsageError:
        return False
    return record.get("id") == config.id and record.get("epochs", 0) == len(metrics)


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, for nothing ever writes into one; a copy where the disk knows no links."""
    try:
        os.link(source, target)
    except OSError:
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as original, atomic_write(target, "wb") as copy:
        shutil.copyfileobj(original, copy)

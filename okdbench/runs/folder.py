"""A run's folder, RESULTS/RECIPE/RUN: the files in it, its lock, and how the worker that writes them ends.

Engine, worker, trainer and readers know one another only by these names, so they stand here once.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

CONFIG = "config.json"
"""The resolved configuration, written by the engine."""
METRICS = "metrics.jsonl"
"""One line for each epoch."""
RECORD = "record.json"
"""What the run says of itself; its presence means done."""
WEIGHTS = "weights.pt"
"""The final weights."""
CHECKPOINTS = "checkpoint-*.pt"
"""Where to continue; "*" is a count of steps."""
PROGRESS = "progress.json"
"""Where training stands now."""
FAILURE = "failure.json"
"""Why the last attempt failed."""
LOG = "log.txt"
"""Everything that workers printed."""
LOCK = "lock"
"""Held by the process that works in the folder."""
MEASUREMENTS = "bench"
"""No recipe's, but of timings: RESULTS/bench, with one folder for each device."""


class Exit(IntEnum):
    """Exit statuses of a worker."""

    done = 0
    """The record is written, finished or diverged."""
    failed = 1
    interrupted = 75
    """Stopped from outside; a training has written a checkpoint."""
    busy = 76
    """Another process holds the lock."""


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Whether this process holds the run's lock, which it then does until the context ends."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def in_work(folder: Path) -> bool:
    """Whether a process holds the lock. A shared probe, so that two readers never see each other as a worker."""
    try:
        with (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    return False

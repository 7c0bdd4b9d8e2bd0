"""A run's folder, RESULTS/RECIPE/RUN: the files in it, and how the worker that writes them ends.

Engine, worker, trainer and readers know one another only by these names, so they stand here once.
"""

from enum import IntEnum

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


class Exit(IntEnum):
    """Exit statuses of a worker."""

    done = 0
    """The record is written, finished or diverged."""
    failed = 1
    interrupted = 75
    """Stopped from outside; a training has written a checkpoint."""
    busy = 76
    """Another process holds the lock."""

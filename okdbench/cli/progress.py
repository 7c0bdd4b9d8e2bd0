"""A bar with the time left for long work, on standard error: only in a terminal, and not with ``--quiet``."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from okdbench import progress
from okdbench.cli.output import verbosity

PATIENCE = 0.5
"""Seconds that work may take before it is shown."""


def show_long_work() -> None:
    """Show the long work of this process from now on, if the user can and wants to see it."""
    progress.show_with(None if verbosity.quiet or not sys.stderr.isatty() else _shown)


class _Bar:
    """One bar at a time: work within other work is not shown."""

    def __init__(self) -> None:
        self.busy = False

    @contextmanager
    def show(self, what: str, total: int | None, in_bytes: bool) -> Iterator[progress.Advance]:
        if self.busy:
            yield lambda amount: None
            return
        self.busy, bar, done, began = True, None, 0, time.monotonic()

        def advance(amount: int) -> None:
            nonlocal bar, done
            done += amount
            if bar is None and time.monotonic() - began >= PATIENCE:
                bar = _bar(in_bytes)
                bar.add_task(what, total=total, start=True)
                bar.tasks[0].start_time = bar.get_time() - (time.monotonic() - began)
                bar.start()
            if bar is not None:
                bar.update(bar.task_ids[0], completed=done)

        try:
            yield advance
        finally:
            self.busy = False
            if bar is not None:
                bar.stop()


_shown = _Bar().show


def _bar(in_bytes: bool) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        console=Console(stderr=True),
        transient=True,
    )

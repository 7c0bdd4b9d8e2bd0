"""What `run` shows while it works: a live view in a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, Self

from okdbench.cli.output import console, count, say, verbosity
from okdbench.engines import Advanced, Ended, Event, Job, Restarting, Started, Stopping
from okdbench.runs.records import Snapshot, State

if TYPE_CHECKING:
    from rich.console import RenderableType

STATE_STYLES = {
    State.finished: "green",
    State.diverged: "bold yellow",
    State.failed: "bold red",
    State.damaged: "bold red",
    State.interrupted: "yellow",
}


class GridProgress:
    """Progress of the whole grid, in epochs, and the time left at the pace of this session."""

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], float] = time.monotonic) -> None:
        self.jobs = list(jobs)
        self.ended = 0
        self._clock = clock
        self._began = clock()
        self._work = {job.folder: float(job.config.epochs) for job in jobs}
        self._begun: set[object] = set()
        self._found: dict[object, float] = {}
        self._done: dict[object, float] = {}

    def add(self, event: Event) -> None:
        """Count an event; a run that ends without having begun was taken over and took no time."""
        if isinstance(event, Started):
            self._begun.add(event.job.folder)
        if isinstance(event, Advanced):
            position = event.snapshot.position
            self._found.setdefault(event.job.folder, position)
            self._done[event.job.folder] = position
        if isinstance(event, Ended) and event.state is not State.interrupted:
            self.ended += 1
            if event.state is State.finished:
                work = self._work[event.job.folder]
                self._found.setdefault(event.job.folder, 0.0 if event.job.folder in self._begun else work)
                self._done[event.job.folder] = work
            else:
                self._work[event.job.folder] = self._done.get(event.job.folder, 0.0)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._began

    @property
    def fraction(self) -> float:
        """Part of all epochs that is done, from 0 to 1."""
        work = sum(self._work.values())
        return sum(self._done.values()) / work if work else 1.0

    @property
    def left(self) -> float | None:
        """Seconds that remain; None before anything is known."""
        trained = sum(self._done[job] - found for job, found in self._found.items())
        if trained <= 0:
            return None
        return (sum(self._work.values()) - sum(self._done.values())) * self.elapsed / trained


class View(Protocol):
    """Shows the events of an engine; a context manager, so that it can clean up."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def __call__(self, event: Event) -> None:
        """Show an event."""


def view(jobs: Sequence[Job]) -> View:
    """Return the view that suits standard output and what the user asked for.

    Colours may be forced on a file; a live view may not.
    """
    if verbosity.quiet:
        return NoView()
    if verbosity.verbose:
        return PlainView(jobs, interval=0.0)
    return LiveView(jobs) if console().is_interactive and console().file.isatty() else PlainView(jobs)


class NoView:
    """Shows nothing: with ``--quiet``, what the verb prints at its end is enough."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __call__(self, event: Event) -> None:
        """Ignore the event."""


class PlainView:
    """One line for each start and end, and for epochs as they pass, at most one in ``interval`` seconds and run."""

    def __init__(self, jobs: Sequence[Job], interval: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._tally = GridProgress(jobs, clock)
        self._clock, self._interval = clock, interval
        self._printed: dict[object, tuple[float, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __call__(self, event: Event) -> None:
        """Print a line if the event deserves one."""
        self._tally.add(event)
        if isinstance(event, Stopping):
            say(stopping_line(event))
        elif isinstance(event, Ended):
            left = "" if event.state is State.interrupted else self._left()
            say(f"{self._counter()} {ended_line(event)}{left}")
        elif isinstance(event, Restarting):
            say(f"{self._counter()} {restarting_line(event)}")
        elif isinstance(event, Started):
            self._printed[event.job.folder] = (self._clock(), 0)
            say(f"{self._counter()} {started_line(event)}")
        elif self._due(event):
            self._printed[event.job.folder] = (self._clock(), event.snapshot.epoch)
            say(f"{self._counter()} {event.job.title}: {progress_line(event.snapshot, event.snapshot.epoch)}")

    def _due(self, event: Advanced) -> bool:
        """Return whether an epoch has passed and the last line about the run is old enough."""
        last, epoch = self._printed[event.job.folder]
        return event.snapshot.epoch > epoch and self._clock() - last >= self._interval

    def _counter(self) -> str:
        return f"[{self._tally.ended}/{len(self._tally.jobs)}]"

    def _left(self) -> str:
        left = self._tally.left
        return f"; about {duration(left)} left" if left else ""


class LiveView:
    """The whole grid as one bar with the time left, and below it one line for each active run."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        from rich.live import Live

        self._tally = GridProgress(jobs)
        self._active: dict[object, tuple[Job, Snapshot | None]] = {}
        self._note = ""
        self._live = Live(self, console=console(), refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Change what is shown; ends scroll up as lines that stay."""
        self._tally.add(event)
        if isinstance(event, Stopping):
            self._note = stopping_line(event)
        elif isinstance(event, Started):
            self._active[event.job.folder] = (event.job, None)
            if event.elsewhere:
                say(started_line(event))
        elif isinstance(event, Advanced):
            self._active[event.job.folder] = (event.job, event.snapshot)
        elif isinstance(event, Restarting):
            self._active.pop(event.job.folder, None)
            say(restarting_line(event))
        else:
            self._active.pop(event.job.folder, None)
            say(ended_line(event), style=STATE_STYLES[event.state])

    def __rich__(self) -> "RenderableType":
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        lines = Table.grid(padding=(0, 2))
        # A copy at once: this runs in rich's refreshing thread while events come in.
        for job, snapshot in list(self._active.values()):
            lines.add_row(job.title, *(_cells(snapshot) if snapshot else ["starting"]))
        parts: list[RenderableType] = [self._bar(), lines]
        return Group(*parts, Text(self._note, style="bold yellow")) if self._note else Group(*parts)

    def _bar(self) -> "RenderableType":
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        left = self._tally.left
        row = Table.grid(padding=(0, 2))
        row.add_row(
            f"{self._tally.ended}/{count(len(self._tally.jobs), 'run')}",
            ProgressBar(total=1.0, completed=self._tally.fraction, width=30),
            f"{self._tally.fraction:.0%}",
            duration(self._tally.elapsed),
            "" if left is None else f"about {duration(left)} left",
        )
        return row


def started_line(event: Started) -> str:
    """Return the line for a run that begins."""
    if event.elsewhere:
        return f"{event.job.title}: another okdbench process trains it; waiting for that one"
    return f"{event.job.title}: started"


def restarting_line(event: Restarting) -> str:
    """A run goes back to its checkpoint."""
    return f"{event.job.title}: started again: {event.reason}"


def ended_line(event: Ended) -> str:
    """Return the line for a run that has ended: its accuracy, or why it has none and where to read more."""
    line = f"{event.job.title}: {event.state}"
    if event.reason:
        line += f": {event.reason}"
    if event.state is State.failed:
        line += f"; log: {event.job.folder.log}"
    snapshot = event.job.folder.progress
    if event.state is State.finished and snapshot and snapshot.accuracy is not None:
        line += f", {snapshot.head} {snapshot.accuracy:.2f} %"
    return line


def stopping_line(event: Stopping) -> str:
    """Return the line shown after Ctrl-C."""
    if not event.workers:
        return "stopping"
    return f"stopping: {count(event.workers, 'run')} writing a checkpoint; Ctrl-C again ends at once and loses work"


def progress_line(snapshot: Snapshot, epoch: int) -> str:
    """Return the line for ``epoch`` with the numbers that go with it."""
    return "  ".join(_cells(snapshot, epoch))


def _cells(snapshot: Snapshot, epoch: int | None = None) -> list[str]:
    """Return the epoch (the current one if None), loss, accuracy of the main head, speed, how it is computed."""
    shown = min(snapshot.epoch + 1, snapshot.epochs) if epoch is None else epoch
    tested = epoch is None and 0 < snapshot.steps <= snapshot.step and snapshot.epoch < snapshot.epochs
    cells = [f"epoch {shown}/{snapshot.epochs}" + (" testing" if tested else "")]
    cells.append("" if snapshot.loss is None else f"loss {snapshot.loss:.3f}")
    cells.append("" if snapshot.accuracy is None else f"{snapshot.head} {snapshot.accuracy:.2f} %")
    return [*cells, f"{snapshot.images_per_second:,.0f} images/s", *filter(None, [snapshot.compute_summary])]


def duration(seconds: float) -> str:
    """Format seconds as ``0:07``, ``12:34``, ``1:02:03`` or ``2 d 3 h``."""
    whole = round(seconds)
    if whole >= 48 * 3600:
        return f"{whole // 86400} d {whole % 86400 // 3600} h"
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"

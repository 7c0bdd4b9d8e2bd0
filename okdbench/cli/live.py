"""What `run` shows while it works: a live view in a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, Self

from okdbench.cli.output import console, duration, say, verbosity
from okdbench.engines import Advanced, Ended, Event, Job, Restarting, Started, Stopping
from okdbench.runs.records import Snapshot, State
from okdbench.runs.status import SILENCE
from okdbench.words import count

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

STATE_STYLES = {
    State.finished: "green",
    State.diverged: "bold yellow",
    State.failed: "bold red",
    State.damaged: "bold red",
    State.interrupted: "yellow",
}


WIDEST_BAR = 30
SHORTENED_TITLE, SHORTEST_TITLE = 34, 12
"""To how many characters titles are cut for another column, and for the columns that are always there."""
ORDER_OF_CELLS = (3, 4, 2, 5)
"""Which cells of a run's line come first where there is no room for all: accuracy, speed, loss, how it is computed."""


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
        self._heard: dict[object, float] = {}
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
        if isinstance(event, Started | Advanced):
            self._heard[event.job.folder] = time.monotonic()
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

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Yield the bar, a line for each active run, and the note; no line of the first two is wider than the console.

        A copy of the runs at once: this runs in rich's refreshing thread while events come in.
        """
        from rich.text import Text

        active, width = list(self._active.values()), options.max_width
        tests = bool(active) and all(snapshot and testing(snapshot) for _, snapshot in active)
        yield Text(self._bar(tests, width), no_wrap=True, overflow="ellipsis")
        rows = [[job.title, *self._cells(job, snapshot)] for job, snapshot in active]
        for line in fitted(rows, width):
            yield Text(line, no_wrap=True, overflow="ellipsis")
        if self._note:
            yield Text(self._note, style="bold yellow")

    def _cells(self, job: Job, snapshot: Snapshot | None) -> list[str]:
        """Return what is shown of an active run, with the time since it last advanced where that is long."""
        first, *others = _cells(snapshot) if snapshot else ["starting"]
        silent = time.monotonic() - self._heard[job.folder]
        return [f"{first}, no step for {duration(silent)}" if silent > SILENCE else first, *others]

    def _bar(self, tests: bool, width: int) -> str:
        """Return the line on the whole grid; a part of it that is not ended never counts as whole."""
        tally = self._tally
        part = min(tally.fraction, 1.0 if tally.ended == len(tally.jobs) else 0.99)
        left = tally.left
        soon = "testing" if tests else ""
        last = soon if left is None or left < 1 else f"about {duration(left)} left"
        words = [f"{tally.ended}/{count(len(tally.jobs), 'run')}", f"{part:.0%}", duration(tally.elapsed), last]
        room = max(min(width - sum(len(word) + 2 for word in words), WIDEST_BAR), 0)
        bar = "━" * round(part * room)
        return "  ".join(filter(None, [words[0], f"{bar:<{room}}" if room > 4 else "", *words[1:]]))


def fitted(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return aligned rows that are at most ``width`` wide: columns are left out from the right, then titles cut.

    The first column has titles, the second is always kept.
    """
    if not rows:
        return []
    columns = max(map(len, rows))
    whole = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(len(row[index]) for row in whole) for index in range(columns)]
    title, kept = min(widths[0], SHORTENED_TITLE), [1]
    for index in ORDER_OF_CELLS:
        if index < columns and title + sum(widths[i] + 2 for i in (*kept, index)) <= width:
            kept.append(index)
    kept = [0, *sorted(kept)]
    widths[0] = min(widths[0], max(width - sum(widths[i] + 2 for i in kept[1:]), SHORTEST_TITLE))
    return ["  ".join(shortened(row[i], widths[i]).ljust(widths[i]) for i in kept).rstrip() for row in whole]


def shortened(text: str, width: int) -> str:
    """Return the text with its middle left out where it is too long: a title ends with the seed."""
    if len(text) <= width:
        return text
    tail = min((width - 1) * 2 // 3, len(text))
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def testing(snapshot: Snapshot) -> bool:
    """Whether the epoch is trained and its heads are tested."""
    return 0 < snapshot.steps <= snapshot.step and snapshot.epoch < snapshot.epochs


def started_line(event: Started) -> str:
    """Return the line for a run that begins."""
    if event.elsewhere:
        holder = event.job.folder.holder
        where = f" on {holder.host}" if holder else ""
        return f"{event.job.title}: another okdbench process trains it{where}; waiting for that one"
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
        return event.note or "stopping"
    return f"stopping: {count(event.workers, 'run')} writing a checkpoint; Ctrl-C again ends at once and loses work"


def progress_line(snapshot: Snapshot, epoch: int) -> str:
    """Return the line for ``epoch`` with the numbers that go with it."""
    return "  ".join(_cells(snapshot, epoch))


def _cells(snapshot: Snapshot, epoch: int | None = None) -> list[str]:
    """Return the epoch (the current one if None), loss, accuracy of the main head, speed, how it is computed."""
    shown = min(snapshot.epoch + 1, snapshot.epochs) if epoch is None else epoch
    tested = " testing" if epoch is None and testing(snapshot) else ""
    cells = [f"epoch {shown}/{snapshot.epochs}{tested}"]
    cells.append("" if snapshot.loss is None else f"loss {snapshot.loss:.3f}")
    cells.append("" if snapshot.accuracy is None else f"{snapshot.head} {snapshot.accuracy:.2f} %")
    return [*cells, f"{snapshot.images_per_second:,.0f} images/s", *filter(None, [snapshot.compute_summary])]

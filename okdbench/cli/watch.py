"""``okdbench watch``: the live view of a grid that another process trains, perhaps on another machine."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from okdbench.cli import options
from okdbench.cli.options import Choices, Places, grouped
from okdbench.cli.output import say
from okdbench.cli.plans import state_counts
from okdbench.words import count

if TYPE_CHECKING:
    from okdbench.engines import Event
    from okdbench.plan.jobs import Job
    from okdbench.runs.folder import RunFolder
    from okdbench.runs.records import Snapshot, State

FAILED = 1

Interval = Annotated[
    float, typer.Option("--interval", metavar="SECONDS", min=0.05, help="Time between two looks at the files.")
]


@grouped
def watch(recipe: options.RecipeName, choices: Choices, places: Places, interval: Interval = 2.0) -> None:
    """Show a grid while it is trained elsewhere, as run shows its own.

    Only files in the results folder are read, which may be a network disk.
    Ends when no run is left to wait for, with status 1 if one has failed, or
    on Ctrl-C, which leaves the training alone. Give the options that run was
    given.

    Examples:
      okdbench watch quickstart
      okdbench watch dkel-table1 -d cifar100 --results /mnt/results
    """
    from okdbench.cli.live import view
    from okdbench.plan.jobs import plan_jobs

    planned = plan_jobs(choices.recorded_plan(recipe, places), places.results)
    jobs = [each.job for each in planned if not each.state.done]
    if jobs:
        say(f"{count(len(planned), 'run')}: {state_counts(each.state for each in planned)}")
    watched = Watched(jobs)
    try:
        with view(jobs) as show:
            while True:
                for event in watched.news():
                    show(event)
                if watched.over:
                    break
                time.sleep(interval)
    except KeyboardInterrupt:
        return
    states = [each.job.folder.state for each in planned]
    say(f"{count(len(planned), 'run')}: {state_counts(states)}")
    if not all(state.done for state in states):
        raise typer.Exit(FAILED)


class Watched:
    """Runs that other processes train, and what has been told of them."""

    def __init__(self, jobs: "Sequence[Job]") -> None:
        self._jobs = {job.folder: job for job in jobs}
        self._states: dict[RunFolder, State | None] = dict.fromkeys(self._jobs)
        self._snapshots: dict[RunFolder, Snapshot] = {}

    @property
    def over(self) -> bool:
        """Whether nothing is trained, and no run is left that may still begin or continue."""
        from okdbench.runs.records import State

        waiting = (State.pending, State.running, State.stalled, State.interrupted)
        return not any(state is None or state in waiting for state in self._states.values())

    def news(self) -> "Iterator[Event]":
        """Yield what has happened since the last call."""
        for folder, job in self._jobs.items():
            before = self._states[folder]
            if before is None or not before.done:
                yield from self._of(job)

    def _of(self, job: "Job") -> "Iterator[Event]":
        from okdbench.engines import Advanced, Ended, Started
        from okdbench.runs.records import State

        folder = job.folder
        before, now, snapshot = self._states[folder], folder.state, folder.progress
        self._states[folder] = now
        if now.under_way and not (before and before.under_way):
            yield Started(job)
        if now.under_way and snapshot and snapshot != self._snapshots.get(folder):
            self._snapshots[folder] = snapshot
            yield Advanced(job, snapshot)
        begun = now.under_way or now in (before, State.pending)
        if not begun and not (before is None and now is State.interrupted):
            yield Ended(job, now, folder.reason)

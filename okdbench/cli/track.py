"""``okdbench track``, and what ``run --track`` adds to a training: curves in the stores of other tools."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from okdbench import tracking
from okdbench.cli import complete, options
from okdbench.cli.options import Choices, Places, command, grouped
from okdbench.cli.output import print_to_stderr, say, verbosity
from okdbench.words import count

if TYPE_CHECKING:
    from okdbench.engines import Event


def _tracker(option: str, what: str) -> Any:
    return typer.Option(
        option,
        metavar="NAME[:PLACE]",
        help=f"{what} ({', '.join(tracking.available())}, or a plugin's); repeatable.",
        show_default=False,
        autocompletion=complete.trackers,
    )


TrackOption = Annotated[list[str] | None, _tracker("--track", "Write the curves of the runs there too")]


@grouped
def track(
    recipe: options.RecipeName,
    to: Annotated[list[str], _tracker("--to", "Where the curves go")],
    choices: Choices,
    places: Places,
) -> None:
    """Write the curves of trained runs for another tool, from their records.

    Loss, learning rate, speed and the metrics of every head after every epoch.
    PLACE is the folder of TensorBoard's files (tensorboard), or a tracking URI
    of MLflow (as MLflow is set up). What is there of the same runs is replaced.
    run --track writes the same while it trains.

    Examples:
      okdbench track quickstart --to tensorboard
      okdbench track dkel-table1 -m dkel --to tensorboard:/logs --to mlflow
      okdbench track quickstart --to mlflow:http://localhost:5000
    """
    from okdbench.runs.folder import RunFolder
    from okdbench.tracking.base import bring_all

    plan = choices.recorded_plan(recipe, places)
    trackers = tracking.open_trackers(to)
    folders = [RunFolder(places.results / plan.recipe.name / run.config.folder) for run in plan.runs]
    found = list(_with_progress(bring_all(folders, trackers), len(folders)))
    runs = sum(bool(epochs) for epochs in found)
    say(f"{count(runs, 'run')} of {len(folders)} written, {count(sum(found), 'epoch')}")
    if not runs and any(folder.state.done for folder in folders):
        say("runs that are done without epochs have no curves")
    elif not runs:
        say(f"train them first: {command('run', recipe, *choices.arguments(), *places.arguments())}")
    for tracker in trackers.values() if runs else ():
        say(f"see: {tracker.see}")


def _with_progress(work: Iterator[int], total: int) -> Iterator[int]:
    from rich.progress import track as show

    from okdbench.report.console import make_console

    return iter(show(work, "runs", total, console=make_console(sys.stderr), transient=True, disable=verbosity.quiet))


@contextmanager
def following(trackers: Mapping[str, tracking.Tracker]) -> "Iterator[Callable[[Event], None]]":
    """Give a function that brings the curves of the runs to trackers, to be called with every event of an engine.

    Runs that another process trains are left to that one.
    """
    from okdbench.engines import Advanced, Ended, Started
    from okdbench.tracking.base import Follower

    ours = set()
    with Follower(trackers, print_to_stderr) as follower:

        def follow(event: "Event") -> None:
            if isinstance(event, Started) and not event.elsewhere:
                ours.add(event.job.folder)
            if isinstance(event, Advanced) and event.job.folder in ours:
                follower.advanced(event.job.folder)
            if isinstance(event, Ended) and event.job.folder in ours:
                follower.ended(event.job.folder)

        yield follow

"""``okdbench run``: train what is not trained yet."""

import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from okdbench import tracking
from okdbench.cli import options, settings
from okdbench.cli.dry_run import say_plan
from okdbench.cli.options import (
    Choices,
    ComputationOptions,
    PatienceOptions,
    Places,
    TextOrJson,
    command,
    grouped,
    program,
)
from okdbench.cli.output import chosen_format, say, write_content
from okdbench.cli.plans import damaged_runs, runnable, state_counts, unavailable_reasons
from okdbench.cli.track import TrackOption, following
from okdbench.errors import UsageError
from okdbench.runs.execution import DEFAULT_EXECUTION
from okdbench.words import count

if TYPE_CHECKING:
    from okdbench.engines import Ended, Event
    from okdbench.engines.registry import EngineKind, Request
    from okdbench.kinds import AnyPlan
    from okdbench.plan.jobs import Planned

FAILED, INTERRUPTED = 1, 130

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        help="Most workers at a time; on this machine they share the cores.",
        show_default="one for each GPU, or all that a cluster has room for",
    ),
]
DevicesOption = Annotated[
    str,
    typer.Option(
        "--device", metavar="auto|cpu|cuda:N", help="Where to train; auto: on all GPUs. Several: cuda:2,cuda:3."
    ),
]
EngineOption = Annotated[
    str,
    typer.Option("--engine", metavar="ENGINE", help="What starts the workers: local, ray, slurm, or a plugin's."),
]
EngineSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-option",
        metavar="KEY=VALUE",
        help="One setting of the engine, as in its section of okdbench.toml; repeatable.",
        show_default=False,
    ),
]
SharingOption = Annotated[
    str,
    typer.Option(
        "--jobs-per-device", metavar="N|auto", help="Runs that one worker trains in turns; auto: measured on a GPU."
    ),
]
ProcessesOption = Annotated[
    int,
    typer.Option(
        "--processes", metavar="N", min=1, help="Number of processes that train a run together, each on its own GPU."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List the runs, their order, hours and disk; train nothing.")]
PlanFormat = Annotated[TextOrJson, typer.Option("--format", help="Of --dry-run: text for people, JSON for programs.")]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Train again, but not what is being trained just now; old run folders move to RESULTS/RECIPE/replaced.",
    ),
]


@grouped
def run(
    recipe: options.RecipeName,
    choices: Choices,
    places: Places,
    computation: ComputationOptions,
    patience: PatienceOptions,
    device: DevicesOption = "auto",
    engine: EngineOption = "local",
    engine_option: EngineSettings = None,
    jobs: Jobs = None,
    jobs_per_device: SharingOption = "1",
    processes: ProcessesOption = 1,
    dry_run: DryRun = False,
    format: PlanFormat = TextOrJson.text,
    force: Force = False,
    track: TrackOption = None,
) -> None:
    """Train the runs of a recipe that are not trained yet.

    Finished runs are skipped and interrupted ones continue: repeat the
    command to resume. Runs that another recipe has finished are taken over
    from there. A run that fails or diverges never stops the others. Ctrl-C
    writes a checkpoint of every run under way and ends with status 130; a
    second Ctrl-C does not wait for the checkpoints.

    Examples:
      okdbench run quickstart
      okdbench run quickstart --jobs 2 --dry-run --format json
      okdbench run dkel-table1 --smoke -m baseline -m dkel
      okdbench run dkel-table1 -d cifar100 -n resnet32 -m baseline -m dkel -s 0 \\
          --epochs 2 --subset 4096
      okdbench run quickstart --track tensorboard
    """
    from okdbench.engines import registry
    from okdbench.engines.registry import Request
    from okdbench.plan.jobs import plan_jobs

    if format is TextOrJson.json and not dry_run:
        raise UsageError("--format json: is for --dry-run; add that, or leave it out")
    plan, chosen = choices.plan(recipe, places.data), registry.get(engine)
    _refuse_unavailable(plan, recipe, choices, places)
    execution = computation.execution(_number(jobs_per_device, processes))
    own = settings.of_engine(engine, engine_option or ())
    planned = plan_jobs(plan, places.results, force)
    if dry_run:
        say_plan(plan.recipe.name, planned, places, (jobs or 1) * max(execution.jobs, 1), format)
        return
    trackers = tracking.open_trackers(track or ())
    request = Request(places.data, places.results, device, jobs, processes, execution, patience.patience(), own)
    ends, stopped = _train(planned, chosen, request, trackers)
    _summarise(planned, ends)
    _print_changed(plan, ends, places.results)
    if stopped:
        say(f"interrupted; continue with: {_same_command()}")
        raise typer.Exit(INTERRUPTED)
    for tracker in trackers.values() if ends else ():
        say(f"curves: {tracker.see}")
    say(f"table: {command('report', recipe, *choices.arguments(), *places.arguments())}")
    if not all(end.state.done for end in ends) or damaged_runs(planned):
        raise typer.Exit(FAILED)


def _number(jobs_per_device: str, processes: int) -> int:
    """Return the value of --jobs-per-device, 0 for auto."""
    number = 0 if jobs_per_device == "auto" else int(jobs_per_device) if jobs_per_device.isdecimal() else -1
    if number < 0 or jobs_per_device == "0":
        raise UsageError(f"--jobs-per-device {jobs_per_device}: give a number from 1 on, or auto")
    if number != 1 and processes > 1:
        raise UsageError("--jobs-per-device: several processes (--processes) train one run at a time; choose one")
    return number


def _refuse_unavailable(plan: "AnyPlan", recipe: str, choices: Choices, places: Places) -> None:
    """Raise UsageError if selected cells cannot run, with the options that select the others."""
    missing = [cell for cell in plan.cells if cell.missing]
    if not missing and plan.runs:
        return
    if not missing:
        raise UsageError(f"{recipe}: leaves all selected cells out ({plan.cells[0].unavailable}); select others")
    what = f"{len(missing)} of {count(len(plan.cells), 'selected cell')} cannot run yet"
    lines = [f"{recipe}: {what}:", *(f"  {reason}" for reason in unavailable_reasons(missing))]
    if plan.runs:
        words = runnable(plan, choices).arguments() + places.arguments()
        lines.append(f"select the others: {command('run', recipe, *words)}")
    else:
        lines.append(f"see what can run: {command('show', recipe)}")
    raise UsageError("\n".join(lines))


def _taken_over(planned: Sequence["Planned"]) -> Counter[str]:
    """Return how many runs other recipes have done, by recipe."""
    return Counter(each.duplicate.recipe for each in planned if each.duplicate)


def _train(
    planned: Sequence["Planned"], kind: "EngineKind", request: "Request", trackers: Mapping[str, tracking.Tracker]
) -> tuple[list["Ended"], bool]:
    """Train; return how each run that began has ended, and whether the user interrupted before all was done."""
    from okdbench.cli.live import view
    from okdbench.engines import Ended, Stopping
    from okdbench.plan.jobs import adopt_finished, archive, require_ready

    if not any(each.job.config.datasets for each in planned):  # no images: no accelerator, processes or turns
        request = replace(request, device="cpu", processes=1, execution=DEFAULT_EXECUTION)
    require_ready(planned, request.data)
    engine = kind.make(request)
    for job in (each.job for each in planned if each.job.retrain and each.state.under_way):
        say(f"{job.title}: --force: is being trained already; waiting for that one, and not training it again")
    for job, place in archive(planned):
        say(f"{job.title}: old run moved to {place}")
    todo = adopt_finished(planned)
    for recipe, number in _taken_over(planned).items():
        say(f"{count(number, 'run')} taken over from {recipe}")
    if not todo:
        return [], False
    notes = engine.prepare(len(planned), todo)
    for line in (f"{count(len(todo), 'run')} to {todo[0].config.verb} on {engine.description}", *notes):
        say(line)
    ends: list[Ended] = []
    stops: list[Stopping] = []
    with view(todo) as show, following(trackers) as follow:

        def on_event(event: "Event") -> None:
            follow(event)
            if isinstance(event, Ended):
                ends.append(event)
            elif isinstance(event, Stopping):
                stops.append(event)
            show(event)

        engine.submit(todo, on_event)
    return ends, bool(stops) and sum(end.state.done for end in ends) < len(todo)


def _summarise(planned: Sequence["Planned"], ends: Sequence["Ended"]) -> None:
    """Count all runs by their state now, then list those that gave no number, with the reason."""
    from okdbench.cli.live import STATE_STYLES, ended_line
    from okdbench.runs.records import State

    ended = {end.job.folder: end for end in ends}
    states = [(ended.get(job.folder) or job.folder).state for job in (each.job for each in planned)]
    say(f"{count(len(planned), 'run')}: {state_counts(states)}")
    if planned and not ends and all(state.done for state in states):
        say(f"nothing left to {planned[0].job.config.verb}; again: --force, or --results DIR for another folder")
    for each, state in zip(planned, states, strict=True):
        end = ended.get(each.job.folder)
        if end and state is not State.finished:
            say(f"  {ended_line(end)}", style=STATE_STYLES[state])
        elif state is State.damaged:
            say(f"  {each.job.title}: damaged: {each.job.folder.reason}", style=STATE_STYLES[state])
        elif state is State.diverged:
            line = f"{each.job.title}: diverged before: {each.job.folder.reason}; --force trains it again"
            say(f"  {line}", style=STATE_STYLES[state])


def _print_changed(plan: "AnyPlan", ends: Sequence["Ended"], results: Path) -> None:
    """Print the part of the table that has changed, as `report` does, without what explains it."""
    from okdbench.report import TablesOnly, build

    done = {end.job.config.id for end in ends if end.state.done}
    cells = tuple(cell for cell in plan.cells if any(run.id in done for run in cell.runs))
    if not cells:
        return
    say()
    try:
        write_content(TablesOnly(build(replace(plan, cells=cells), results)), chosen_format(None, None), None)  # type: ignore[type-var]
    except UsageError as error:  # the runs are done all the same
        say(f"the table cannot be shown: {error}", style="bold red")


def _same_command() -> str:
    """Return what the user typed, without --force, which would discard the work of the interrupted runs."""
    return f"{program()} {shlex.join(word for word in sys.argv[1:] if word != '--force')}"

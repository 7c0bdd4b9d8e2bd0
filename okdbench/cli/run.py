"""``okdbench run``: train what is not trained yet."""

import os
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from okdbench import tracking
from okdbench.cli import options
from okdbench.cli.dry_run import print_plan
from okdbench.cli.options import Choices, ComputationOptions, Places, command, grouped, program
from okdbench.cli.output import count, say
from okdbench.cli.plans import damaged_runs, runnable, state_counts, unavailable_reasons
from okdbench.cli.track import TrackOption, following
from okdbench.errors import UsageError
from okdbench.runs.execution import Execution

if TYPE_CHECKING:
    from okdbench.engines import Ended, Engine, Event, Job
    from okdbench.kinds import AnyPlan
    from okdbench.plan.jobs import Planned

FAILED, INTERRUPTED = 1, 130

Jobs = Annotated[
    int, typer.Option("--jobs", metavar="N", min=1, help="Number of parallel workers; they share the cores.")
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
Force = Annotated[
    bool,
    typer.Option("--force", help="Train again; old run folders move to RESULTS/RECIPE/replaced, nothing is deleted."),
]


@grouped
def run(
    recipe: options.RecipeName,
    choices: Choices,
    places: Places,
    computation: ComputationOptions,
    device: options.DeviceOption = "auto",
    jobs: Jobs = 1,
    jobs_per_device: SharingOption = "1",
    processes: ProcessesOption = 1,
    dry_run: DryRun = False,
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
      okdbench run quickstart --jobs 2 --dry-run
      okdbench run dkel-table1 --smoke -m baseline -m dkel
      okdbench run dkel-table1 -d cifar100 -n resnet32 -m baseline -m dkel -s 0 \\
          --epochs 2 --subset 4096
      okdbench run quickstart --track tensorboard
    """
    from okdbench.plan.jobs import plan_jobs

    plan = choices.plan(recipe, places.data)
    _refuse_unavailable(plan, recipe, choices)
    planned = plan_jobs(plan, places.results, force)
    if dry_run:
        print_plan(planned, places, jobs * max(_number(jobs_per_device, processes), 1))
        return
    execution = computation.execution(_number(jobs_per_device, processes))
    trackers = tracking.open_trackers(track or ())
    ends, stopped = _train(planned, places.data, device, jobs, processes, execution, trackers)
    _summarise(planned, ends)
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


def _refuse_unavailable(plan: "AnyPlan", recipe: str, choices: Choices) -> None:
    """Raise UsageError if selected cells cannot run, with the options that select the others."""
    missing = [cell for cell in plan.cells if cell.unavailable]
    if not missing:
        return
    what = f"{len(missing)} of {count(len(plan.cells), 'selected cell')} cannot run yet"
    lines = [f"{recipe}: {what}:", *(f"  {reason}" for reason in unavailable_reasons(missing))]
    if len(missing) < len(plan.cells):
        words = runnable(plan, choices).arguments()
        lines.append(f"select the others: {command('run', recipe, *words)}")
    else:
        lines.append(f"see what can run: {command('show', recipe)}")
    raise UsageError("\n".join(lines))


def _taken_over(planned: Sequence["Planned"]) -> Counter[str]:
    """Return how many runs other recipes have done, by recipe."""
    return Counter(each.duplicate.recipe for each in planned if each.duplicate)


def _train(
    planned: Sequence["Planned"],
    data: Path,
    device: str,
    jobs: int,
    processes: int,
    execution: Execution,
    trackers: Mapping[str, tracking.Tracker],
) -> tuple[list["Ended"], bool]:
    """Train; return how each run that began has ended, and whether the user interrupted before all was done."""
    import torch

    from okdbench.cli.live import view
    from okdbench.engines import Ended, LocalEngine, Stopping
    from okdbench.plan.jobs import adopt_finished, archive, find_device, require_ready
    from okdbench.training.computation import require_supported

    images = any(each.job.config.datasets for each in planned)
    if not images:  # runs that read no images need no accelerator, no further processes and no turns
        device, processes, execution = "cpu", 1, replace(execution, jobs=1)
    where = find_device(device, processes)
    if images:
        require_supported(execution, torch.device(where))
    require_ready(planned, data)
    for job, place in archive(planned):
        say(f"{job.title}: old run moved to {place}")
    todo = adopt_finished(planned)
    for recipe, number in _taken_over(planned).items():
        say(f"{count(number, 'run')} taken over from {recipe}")
    if not todo:
        return [], False
    execution = (
        execution if execution.jobs else replace(execution, jobs=_tune_jobs_per_device(todo, data, where, execution))
    )
    # By all runs, not those that are left, so that the same command gives each of them the same number of threads.
    workers = min(jobs, -(-len(planned) // execution.jobs))
    engine: Engine = LocalEngine(data, [where], parallel=workers, processes=processes, execution=execution)
    say(f"{count(len(todo), 'run')} to {todo[0].config.verb} on {engine.description}")
    if workers > 1 and where != "cpu" and not _mps_runs():
        say(f"without NVIDIA MPS the GPU serves one worker at a time; rather use --jobs-per-device {workers}")
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


def _mps_runs() -> bool:
    """Return whether NVIDIA's multi-process service runs, with which kernels of several processes share a GPU."""
    return Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"), "control").exists()


def _tune_jobs_per_device(todo: Sequence["Job"], data: Path, where: str, execution: Execution) -> int:
    """Return how many runs at a time train the most images per second, measured on the first that can start."""
    import torch

    from okdbench.bench import TimedRun
    from okdbench.bench.sharing import tune_jobs_per_device
    from okdbench.config import RunConfig

    for job in todo:
        if isinstance(job.config, RunConfig) and not job.config.teacher:
            run = TimedRun(job.config, data, torch.device(where), execution=replace(execution, jobs=1))
            jobs, rates = tune_jobs_per_device(run)
            if rates:
                gain = rates[jobs] / rates[min(rates)]
                say(f"--jobs-per-device {jobs}: {gain:.2f} times the images of one run at a time ({job.title})")
            return jobs
    return 1


def _summarise(planned: Sequence["Planned"], ends: Sequence["Ended"]) -> None:
    """Count all runs by their state now, then list those that gave no number, with the reason."""
    from okdbench.cli.live import STATE_STYLES, ended_line
    from okdbench.runs.records import State

    ended = {end.job.folder: end for end in ends}
    states = [(ended.get(job.folder) or job.folder).state for job in (each.job for each in planned)]
    say(f"{count(len(planned), 'run')}: {state_counts(states)}")
    for each, state in zip(planned, states, strict=True):
        end = ended.get(each.job.folder)
        if end and state is not State.finished:
            say(f"  {ended_line(end)}", style=STATE_STYLES[state])
        elif state is State.damaged:
            say(f"  {each.job.title}: damaged: {each.job.folder.reason}", style=STATE_STYLES[state])
        elif state is State.diverged:
            line = f"{each.job.title}: diverged before: {each.job.folder.reason}; --force trains it again"
            say(f"  {line}", style=STATE_STYLES[state])


def _same_command() -> str:
    """Return what the user typed, without --force, which would discard the work of the interrupted runs."""
    return f"{program()} {shlex.join(word for word in sys.argv[1:] if word != '--force')}"

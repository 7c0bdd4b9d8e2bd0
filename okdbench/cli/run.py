"""``okdbench run``: train what is not trained yet."""

import itertools
import re
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from okdbench.cli import options
from okdbench.cli.options import Choices, command, program
from okdbench.cli.output import count, say, say_table
from okdbench.cli.plans import DONE, lacking, runnable, tallied
from okdbench.errors import UsageError

if TYPE_CHECKING:
    from okdbench.engines import Ended, Event, Job
    from okdbench.recipe import AnyPlan, Run, SimulationRun
    from okdbench.results import State

FAILED, INTERRUPTED = 1, 130
REPLACED = "replaced"

Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda:N", help="Where to train.")]
Jobs = Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Runs at a time; they share the cores.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List the runs and their states, train nothing.")]
Force = Annotated[
    bool,
    typer.Option("--force", help="Train anew; old run folders move to RESULTS/RECIPE/replaced, nothing is deleted."),
]


def run(
    recipe: options.RecipeName,
    dataset: options.Datasets = None,
    network: options.Networks = None,
    method: options.Methods = None,
    seed: options.Seeds = None,
    epochs: options.Epochs = None,
    subset: options.Subset = None,
    settings: options.Assignments = None,
    smoke: options.Smoke = False,
    results: options.Results = options.RESULTS,
    data: options.Data = options.DATA,
    device: Device = "auto",
    jobs: Jobs = 1,
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Train the runs of a recipe that are not trained yet.

    Finished runs are skipped and interrupted ones continue, so the same
    command again does the rest. A run that fails or diverges never stops the
    others. Ctrl-C writes a checkpoint of every run in work and ends with
    status 130; a second Ctrl-C does not wait for the checkpoints.

    Examples:
      okdbench run quickstart
      okdbench run quickstart --jobs 2 --dry-run
      okdbench run dkel-table1 --smoke -m baseline -m dkel
      okdbench run dkel-table1 -d cifar100 -n resnet32 -m baseline -m dkel -s 0 \\
          --epochs 2 --subset 4096
    """
    choices = Choices.typed(dataset, network, method, seed, epochs, subset, settings, smoke)
    plan = choices.plan(recipe, data)
    _refuse_unavailable(plan, recipe, choices)
    planned = _planned(plan, results, force)
    if dry_run:
        _list(planned)
        return
    ends, stopped = _train(planned, data, device, jobs)
    _summarise(planned, ends)
    if stopped:
        say(f"interrupted; continue with: {_same_command()}")
        raise typer.Exit(INTERRUPTED)
    say(f"table: {command('report', recipe, *choices.arguments(), *options.places(results, data))}")
    if any(end.state not in DONE for end in ends):
        raise typer.Exit(FAILED)


def _refuse_unavailable(plan: "AnyPlan", recipe: str, choices: Choices) -> None:
    """UsageError where selected cells cannot run, with the options that select the others."""
    missing = [cell for cell in plan.cells if cell.unavailable]
    if not missing:
        return
    what = f"{len(missing)} of {count(len(plan.cells), 'selected cell')} cannot run yet"
    lines = [f"{recipe}: {what}:", *(f"  {reason}" for reason in lacking(missing))]
    if len(missing) < len(plan.cells):
        words = runnable(plan, choices).arguments()
        lines.append(f"select the others: {command('run', recipe, *words)}")
    else:
        lines.append(f"see what can run: {command('show', recipe)}")
    raise UsageError("\n".join(lines))


@dataclass(frozen=True)
class Planned:
    """A run of the plan as a job, with the state found; ``anew``: --force replaces it; ``todo``: it will be trained."""

    run: "Run | SimulationRun"
    job: "Job"
    state: "State"
    anew: bool
    todo: bool


def _planned(plan: "AnyPlan", results: Path, force: bool) -> list[Planned]:
    """Where every run stands; UsageError for a run to be replaced while a worker still trains it.

    ``force`` is for the runs of the selected cells, not for those that are needed only to teach them; these are trained
    anew where a run still to be trained needs their weights and only their records are there.
    """
    from okdbench.engines import Job
    from okdbench.results import state
    from okdbench.training import WEIGHTS

    selected = {run.id for cell in plan.cells for run in cell.runs}
    folder = results / plan.recipe.name
    teaching = {
        after
        for run in plan.runs
        for after in run.config.after
        if force or state(folder / run.config.folder) not in DONE
    }
    planned = []
    for run in plan.runs:
        job = Job(run.config, folder / run.config.folder, run.title)
        now = state(job.folder)
        # A published record comes without the weights that a run still to be trained would learn from.
        unarmed = now == "finished" and run.config.folder in teaching and not (job.folder / WEIGHTS).exists()
        anew = (force and run.id in selected) or unarmed
        if anew and now == "running":
            raise UsageError(f"--force: {job.title} is being trained ({job.folder}); wait for it or stop it first")
        planned.append(Planned(run, job, now, anew, anew or now not in DONE))
    return planned


def _list(planned: Sequence[Planned]) -> None:
    """What a real run would find and do."""
    rows = [
        {"id": run.id, "state": each.state, **run.names, "seed": str(run.seed), "epochs": str(run.config.epochs)}
        for each in planned
        for run in [each.run]
    ]
    if rows:
        say_table(list(rows[0]), [list(row.values()) for row in rows], right=["seed", "epochs"])
    todo = [each.job.config.verb for each in planned if each.todo]
    left = f"{len(todo)} to {todo[0]}" if todo else "nothing to do"
    say(f"{count(len(planned), 'run')}: {tallied(each.state for each in planned)}; {left}")


def _set_aside(planned: Sequence[Planned]) -> None:
    """Move what --force replaces to ``replaced/FOLDER.N``."""
    for job in (each.job for each in planned if each.anew and each.job.folder.exists()):
        aside = job.folder.parent / REPLACED
        aside.mkdir(exist_ok=True)
        targets = (aside / f"{job.folder.name}.{number}" for number in itertools.count(1))
        target = next(target for target in targets if not target.exists())
        job.folder.rename(target)
        say(f"{job.title}: old run moved to {target}")


def _train(planned: Sequence[Planned], data: Path, device: str, jobs: int) -> tuple[list["Ended"], bool]:
    """Train; how each run that began has ended, and whether the person interrupted before all was done."""
    from okdbench.cli.live import view
    from okdbench.engines import Ended, LocalEngine, Stopping

    images = any(each.job.config.datasets for each in planned)
    where = _device(device) if images else "cpu"  # what reads no images needs no accelerator
    todo = [each.job for each in planned if each.todo]
    if not todo:
        return [], False
    _prepare(todo, data)
    _set_aside(planned)
    engine = LocalEngine(data, where, parallel=min(jobs, len(todo)))
    workers, threads = count(engine.parallel, "worker"), count(engine.threads, "thread")
    say(f"{count(len(todo), 'run')} to {todo[0].config.verb} on {where}: {workers} with {threads} each")
    ends: list[Ended] = []
    stops: list[Stopping] = []
    with view(todo) as show:

        def on_event(event: "Event") -> None:
            if isinstance(event, Ended):
                ends.append(event)
            elif isinstance(event, Stopping):
                stops.append(event)
            show(event)

        engine.submit(todo, on_event)
    return ends, bool(stops) and sum(end.state in DONE for end in ends) < len(todo)


def _device(name: str) -> str:
    """The torch device that a worker gets; UsageError for one that is not there."""
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda:0" if gpus else "cpu"
    if name == "cpu":
        return name
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if not match:
        raise UsageError(f"--device {name}: choose auto, cpu, or cuda:N for GPU number N")
    if int(match[1] or 0) >= gpus:
        raise UsageError(f"--device {name}: torch sees {count(gpus, 'GPU')} here; choose {'cuda:0' if gpus else 'cpu'}")
    return f"cuda:{match[1] or 0}"


def _prepare(todo: Sequence["Job"], data: Path) -> None:
    """See to what every run needs: what is missing or damaged is told once, before the first worker starts."""
    from okdbench.data import get, load, present

    datasets = dict.fromkeys(name for job in todo for name in job.config.datasets)
    missing = [str(get(name).missing(data)) for name in datasets if not present(name, data)]
    if missing:
        raise UsageError("\n".join(missing))
    folder = todo[0].folder.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder with --results"
        ) from None
    for name in datasets:
        load(name, data)


def _summarise(planned: Sequence[Planned], ends: Sequence["Ended"]) -> None:
    """All runs by their state now, then once more those that gave no number, with why."""
    from okdbench.cli.live import STYLES, ended_line
    from okdbench.results import read_record

    ended = {end.job.folder: end for end in ends}
    now = [ended[each.job.folder].state if each.job.folder in ended else each.state for each in planned]
    say(f"{count(len(planned), 'run')}: {tallied(now)}")
    for each in planned:
        end = ended.get(each.job.folder)
        if end and end.state != "finished":
            say(f"  {ended_line(end)}", style=STYLES[end.state])
        elif each.state == "diverged" and not each.todo:
            reason = read_record(each.job.folder).get("reason")
            say(f"  {each.job.title}: diverged before: {reason}; --force trains it anew", style=STYLES["diverged"])


def _same_command() -> str:
    """What the person typed, without --force, which would throw away what the interrupted runs have done."""
    return f"{program()} {shlex.join(word for word in sys.argv[1:] if word != '--force')}"

"""From a plan to jobs: what is done, what another recipe has done, what is left, and what that needs to start."""

import itertools
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from okdbench import data
from okdbench.config import Configuration
from okdbench.errors import UsageError
from okdbench.plan import AnyPlan, Run, SimulationRun
from okdbench.runs.folder import LOG, WEIGHTS
from okdbench.runs.records import DONE, State, state
from okdbench.runs.reuse import done_twin, take_over

REPLACED = "replaced"
"""The folder, beside a recipe's runs, to which runs go that are trained anew."""


@dataclass(frozen=True)
class Job:
    """One run to execute: what it is, the folder it writes to, and how to call it in front of a person.

    ``anew``: it is trained here even where another recipe has it.
    """

    config: Configuration
    folder: Path
    title: str
    anew: bool = False

    @property
    def log(self) -> Path:
        """Everything the worker printed."""
        return self.folder / LOG


@dataclass(frozen=True)
class Planned:
    """A run of the plan as a job, with the state found.

    ``aside``: what its folder holds is moved away first; ``twin``: another recipe's folder in which the run is done,
    from which it is taken over; ``todo``: it is to be trained.
    """

    run: Run | SimulationRun
    job: Job
    state: State
    aside: bool
    twin: Path | None
    todo: bool


def plan_jobs(plan: AnyPlan, results: Path, force: bool = False) -> list[Planned]:
    """Where every run of the plan stands below ``results``, and what is to be done; nothing is changed.

    ``force`` trains the runs of the selected cells anew, but not those that are needed only to teach them. A teacher's
    run is done again where a run still to be trained needs its weights and only its record is there, as in a clone of
    published records. UsageError for a run to be replaced while a worker still trains it.
    """
    anew = {run.id for cell in plan.cells for run in cell.runs} if force else set()
    folder = results / plan.recipe.name
    runs: Sequence[Run | SimulationRun] = plan.runs
    jobs = [Job(run.config, folder / run.config.folder, run.title, run.id in anew) for run in runs]
    teaching = {teacher for job in jobs if job.config.after and _is_left(job) for teacher in job.config.after}
    return [_planned(run, job, job.folder.name in teaching) for run, job in zip(runs, jobs, strict=True)]


def _is_left(job: Job) -> bool:
    """Whether the job is to be trained."""
    return job.anew or (state(job.folder) not in DONE and not done_twin(job.config, job.folder))


def _planned(run: Run | SimulationRun, job: Job, teaches: bool) -> Planned:
    """What is to be done for one run; ``teaches``: a run to be trained needs its weights."""
    now = state(job.folder)
    unarmed = teaches and now == "finished" and not (job.folder / WEIGHTS).exists()
    aside = job.anew or unarmed
    if aside and now == "running":
        raise UsageError(f"--force: {job.title} is being trained ({job.folder}); wait for it or stop it first")
    undone = unarmed or now not in (*DONE, "running")
    twin = done_twin(job.config, job.folder, weights=teaches) if undone and not job.anew else None
    return Planned(run, job, now, aside, twin, not twin and (aside or now not in DONE))


def check(planned: Sequence[Planned], root: Path) -> None:
    """See to what the runs need: packed images below ``root``, and a folder that can be written.

    UsageError for all that is missing or damaged, before anything starts or moves.
    """
    names = dict.fromkeys(name for each in planned if each.todo for name in each.job.config.datasets)
    missing = [str(data.get(name).missing(root)) for name in names if not data.present(name, root)]
    if missing:
        raise UsageError("\n".join(missing))
    for folder in {each.job.folder.parent for each in planned if each.todo or each.twin}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            why = f"cannot be written ({error.strerror}); choose another folder with --results"
            raise UsageError(f"{folder}: {why}") from None
    for name in names:
        data.check(name, root)


def archive(planned: Sequence[Planned]) -> list[tuple[Job, Path]]:
    """Move what is replaced to ``replaced/RUN.N`` beside it; the runs moved, and where to."""
    moved = []
    for job in (each.job for each in planned if each.aside and each.job.folder.exists()):
        aside = job.folder.parent / REPLACED
        aside.mkdir(exist_ok=True)
        targets = (aside / f"{job.folder.name}.{number}" for number in itertools.count(1))
        target = next(target for target in targets if not target.exists())
        job.folder.rename(target)
        moved.append((job, target))
    return moved


def adopt_finished(planned: Sequence[Planned]) -> list[Job]:
    """Take over what other recipes have done; the jobs that are left for an engine, in the order of the plan."""
    left = []
    for each in planned:
        if each.todo or (each.twin and take_over(each.twin, each.job.folder) not in DONE):
            left.append(each.job)
    return left


def find_device(name: str, processes: int = 1) -> str:
    """The torch device that ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` means; UsageError for one that is not there.

    So many processes have a GPU each: that one and those after it.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not gpus):
        return "cpu"
    name = "cuda:0" if name == "auto" else name
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if not match:
        raise UsageError(f"--device {name}: choose auto, cpu, or cuda:N for GPU number N")
    seen = f"torch sees {gpus} GPU" + ("" if gpus == 1 else "s")
    if int(match[1] or 0) >= gpus:
        raise UsageError(f"--device {name}: {seen} here; choose {'cuda:0' if gpus else 'cpu'}")
    if int(match[1] or 0) + processes > gpus:
        raise UsageError(f"--processes {processes}: {seen} here, and each needs its own from {name} on; choose fewer")
    return f"cuda:{match[1] or 0}"

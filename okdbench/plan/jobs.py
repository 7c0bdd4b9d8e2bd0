"""From a plan to jobs: which runs are done, here or for another recipe, which remain, and what they need to start."""

import itertools
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from okdbench import data
from okdbench.config import Configuration, RunConfig
from okdbench.errors import UsageError
from okdbench.kinds import AnyPlan, AnyRun
from okdbench.machine import gpu_count
from okdbench.runs.folder import RunFolder
from okdbench.runs.hashes import kept_hashes
from okdbench.runs.lease import held
from okdbench.runs.records import State
from okdbench.runs.reuse import done_duplicate, take_over
from okdbench.runs.weights import has_final_weights
from okdbench.words import count

REPLACED = "replaced"
"""The folder, beside a recipe's runs, to which runs are moved before they are trained again."""


@dataclass(frozen=True)
class Job:
    """One run to execute: what it is, the folder it writes to, and its name for people.

    ``retrain``: it is trained here even where another recipe has it.
    """

    config: Configuration
    folder: RunFolder
    title: str
    retrain: bool = False


@dataclass(frozen=True)
class Planned:
    """A run of the plan as a job, with the state found.

    ``archive_first``: the content of its folder is moved away first; ``duplicate``: another recipe's folder in which
    the run is done, from which it is taken over; ``todo``: it is to be trained.
    """

    run: AnyRun
    job: Job
    state: State
    archive_first: bool
    duplicate: RunFolder | None
    todo: bool


def plan_jobs(plan: AnyPlan, results: Path, force: bool = False) -> list[Planned]:
    """Return the state of every run of the plan below ``results``, and what is to be done; nothing is changed.

    ``force`` trains the runs of the selected cells again, but not those that they need, such as teachers. A needed
    run is done again where a run still to be trained needs its weights and only its record is there, as in a clone of
    published records, or the weights are not those of the record. A damaged run is left alone unless ``force``. A run
    that a worker trains just now is left to it, also with ``force``.
    """
    retrain = {run.id for cell in plan.cells for run in cell.runs} if force else set()
    folder = results / plan.recipe.name
    needed: set[str] = set()
    found = []
    with kept_hashes(folder):
        for run in reversed(plan.runs):  # every run before those that it needs, which may need others in turn
            job = Job(run.config, RunFolder(folder / run.config.folder), run.title, run.id in retrain)
            planned = _planned(run, job, run.config.folder in needed)
            needed |= {*run.config.after} if planned.todo else set()
            found.append(planned)
    return found[::-1]


def _planned(run: AnyRun, job: Job, needed: bool) -> Planned:
    """Return what is to be done for one run; ``needed``: a run to be trained needs its weights."""
    state = job.folder.state
    lacks_weights = needed and state is State.finished and not has_final_weights(job.folder)
    archive_first = (job.retrain and not state.under_way) or lacks_weights
    settled = state.done or state is State.damaged
    undone = lacks_weights or not (settled or state.under_way)
    duplicate = done_duplicate(job.config, job.folder, weights=needed) if undone and not job.retrain else None
    return Planned(run, job, state, archive_first, duplicate, not duplicate and (archive_first or not settled))


def absent_images(planned: Sequence[Planned], root: Path) -> list[str]:
    """Return the names of the data sets that the runs to train need and that are not below the data folder ``root``."""
    return [name for name in _datasets(planned) if not data.present(name, root)]


def _datasets(planned: Sequence[Planned]) -> Sequence[str]:
    return tuple(dict.fromkeys(name for each in planned if each.todo for name in each.job.config.datasets))


def require_ready(planned: Sequence[Planned], root: Path) -> None:
    """Check what the runs need: a policy for each view, packed images below ``root``, a folder that can be written.

    Raise UsageError for all that is missing or damaged, before anything starts or moves.
    """
    _require_policies(planned)
    if missing := [str(data.get(name).missing(root)) for name in absent_images(planned, root)]:
        raise UsageError("\n".join(missing))
    for folder in {each.job.folder.path.parent for each in planned if each.todo or each.duplicate}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            why = f"cannot be written ({error.strerror}); choose another folder with --results"
            raise UsageError(f"{folder}: {why}") from None
    for name in _datasets(planned):
        data.check(name, root)


def _require_policies(planned: Sequence[Planned]) -> None:
    """Build the methods of trainings that name several policies, without weights, and compare with their views."""
    several: dict[tuple[str, str, str], tuple[Job, RunConfig]] = {}
    for job in (each.job for each in planned if each.todo):
        if isinstance(config := job.config, RunConfig) and len(config.data.policies) > 1:
            several.setdefault((config.method, config.network, repr((config.settings, config.data))), (job, config))
    if not several:
        return
    from okdbench import methods
    from okdbench.networks.counting import weightless

    for job, config in several.values():
        with weightless():
            views = methods.make(config, data.get(config.dataset).classes).views
        try:
            data.policy_of_each_view(config.data.policies, views)
        except UsageError as error:
            raise UsageError(f"{job.title}: {error}") from None


def archive(planned: Sequence[Planned]) -> list[tuple[Job, Path]]:
    """Move what is replaced to ``replaced/RUN.N`` beside it; return the runs moved, and where to.

    What another process has just begun to train again, after the same decision, is left to it. For one on another
    machine that gives no sign of life, this waits a minute.
    """
    moved = []
    for job in (each.job for each in planned if each.archive_first and each.job.folder.started):
        path = job.folder.path
        with held(path, wait=True) as lease:
            if lease and job.folder.started:
                replaced = path.parent / REPLACED
                replaced.mkdir(exist_ok=True)
                targets = (replaced / f"{path.name}.{number}" for number in itertools.count(1))
                target = next(target for target in targets if not target.exists())
                path.rename(target)
                moved.append((job, target))
    return moved


def adopt_finished(planned: Sequence[Planned]) -> list[Job]:
    """Take over what other recipes have done; return the jobs that are left for an engine, in the order of the plan."""
    left = []
    for each in planned:
        if each.todo or (each.duplicate and not take_over(each.duplicate, each.job.folder).done):
            left.append(each.job)
    return left


def find_devices(names: str, processes: int = 1) -> list[str]:
    """Return the first device of each worker that there is room for: every GPU, or those named, ``cuda:2,cuda:3``.

    Each of a worker's ``processes`` needs a GPU of its own, from the worker's first one on. Raise UsageError for
    devices that are not there or too few.
    """
    if "," in names:
        chosen = [find_device(name.strip()) for name in names.split(",")]
        if len({*chosen}) < len(chosen):
            raise UsageError(f"--device {names}: names a device twice; --jobs-per-device trains several runs on each")
        if len({name.partition(":")[0] for name in chosen}) > 1:
            raise UsageError(f"--device {names}: the CPU and GPUs give different bits; choose one kind")
    elif names in ("auto", "cuda") and find_device(names, processes) != "cpu":
        chosen = [f"cuda:{number}" for number in range(gpu_count())]
    else:
        return [find_device(names, processes)]
    if processes == 1:
        return chosen
    numbers = sorted(int(name.partition(":")[2]) for name in chosen)
    first = numbers[: len(numbers) // processes * processes : processes]
    if not first or any(number + processes - 1 not in numbers for number in first):
        raise UsageError(f"--processes {processes}: needs as many GPUs in a row for each run; not so in {names}")
    return [f"cuda:{number}" for number in first]


def find_device(name: str, processes: int = 1) -> str:
    """Return the torch device that ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` means; raise UsageError for one that is
    not there.

    Each of ``processes`` processes needs a GPU of its own: that one and those after it.
    """
    gpus = gpu_count()
    if name == "cpu" or (name == "auto" and not gpus):
        return "cpu"
    name = "cuda:0" if name == "auto" else name
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if not match:
        raise UsageError(f"--device {name}: choose auto, cpu, or cuda:N for GPU number N")
    seen = f"torch sees {count(gpus, 'GPU')}"
    if int(match[1] or 0) >= gpus:
        raise UsageError(f"--device {name}: {seen} here; choose {'cuda:0' if gpus else 'cpu'}")
    if int(match[1] or 0) + processes > gpus:
        raise UsageError(f"--processes {processes}: {seen} here, and each needs its own from {name} on; choose fewer")
    return f"cuda:{match[1] or 0}"

"""All finished trainings of a results folder, over all recipes: one row for each method, network and setting."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from okdbench import methods, recipe
from okdbench.config import LearningConfig, RunConfig
from okdbench.errors import UsageError
from okdbench.plan import Plan, Run, expand
from okdbench.plan.cost import relative_step
from okdbench.progress import tracked
from okdbench.recipe.resolve import Resolved
from okdbench.results.curves import curves
from okdbench.results.protocol import evaluate
from okdbench.results.stats import Summary, summarise
from okdbench.runs.folder import RunFolder
from okdbench.runs.heads import Head
from okdbench.runs.records import Record, State

EpochChoice = Literal["last", "best"]


@dataclass(frozen=True)
class Standing:
    """The runs of one configuration, which differ in nothing but their seed.

    ``label`` is the method with its variant as the recipe calls it; ``settings`` are the values of its axes, and
    ``changed`` what differs from the closest cell of the recipe, such as ``training.epochs=2``. ``values`` are top-1
    accuracies on the test images in percent, of the deployed ``head``, one for each of ``seeds``; ``hours`` are how
    long each of the runs took.
    """

    config: RunConfig
    recipes: tuple[str, ...]
    label: str
    name: str
    settings: tuple[str, ...]
    changed: tuple[str, ...]
    head: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    hours: tuple[float, ...]
    runs: tuple[str, ...]
    computed: tuple[str, ...]

    @property
    def summary(self) -> Summary:
        """Mean and spread over the seeds."""
        return summarise(self.values, percentages=True)

    @property
    def mean_hours(self) -> float:
        """How long a run took."""
        return sum(self.hours) / len(self.hours)

    @property
    def cost(self) -> float | None:
        """Arithmetic of a training step relative to the plain network's; None where a plugin of the run is absent."""
        try:
            return relative_step(self.config)
        except UsageError:
            return None


@dataclass(frozen=True)
class Finished:
    """One finished run and its accuracy in percent."""

    record: Record
    value: float


def standings(results: Path, epoch: EpochChoice = "last") -> tuple[list[Standing], list[str]]:
    """Return a row for each configuration with a finished training, in the order of folders, and what is damaged.

    A run that several recipes have counts once. ``best`` takes the epoch with the best test accuracy, or validation
    accuracy where images are held out. Each damaged run is a line that names its file and the remedy.
    """
    found: dict[str, dict[str, Finished]] = {}
    recipes: dict[str, list[str]] = {}
    damaged = []
    paths = sorted(results.glob("*/*"))
    for folder in tracked(map(RunFolder, paths), "reading runs", len(paths)):
        try:
            run = _finished(folder, epoch)
        except UsageError as error:
            damaged.append(str(error))
            continue
        if run:
            same = _without_seed(run.record.config)
            found.setdefault(same, {}).setdefault(run.record.id, run)
            recipes.setdefault(same, []).append(folder.recipe)
    plans = _Plans()
    rows = [_standing(list(runs.values()), tuple(dict.fromkeys(recipes[same])), plans) for same, runs in found.items()]
    return rows, damaged


def _finished(folder: RunFolder, epoch: EpochChoice) -> Finished | None:
    """Return the training in a folder and the accuracy of its deployed head; None where none is finished."""
    record = folder.record
    if not isinstance(record, Record) or record.status is not State.finished:
        return None
    shown = curves(folder)
    selection = shown.validation if record.config.data.validation else None
    return Finished(record, evaluate(shown.test, Head(record.deployed), epoch, selection))


def _without_seed(config: RunConfig) -> str:
    """Return what runs have in common that differ only in their seed, or in that of their teacher."""
    teacher = config.teacher and config.teacher.model_copy(update={"seed": 0})
    return config.model_copy(update={"seed": 0, "teacher": teacher}).id


class _Plans:
    """The runs that recipes plan, each recipe read once."""

    def __init__(self) -> None:
        self._known = recipe.available()
        self._plans: dict[str, Plan | None] = {}

    def get(self, name: str) -> Plan | None:
        """Return a table's plan; None for the recipe of a file elsewhere, one that is wrong, or another kind."""
        if name not in self._plans:
            try:
                plan = expand(recipe.load(name)) if name in self._known else None
            except UsageError:
                plan = None
            self._plans[name] = plan if isinstance(plan, Plan) else None
        return self._plans[name]


def _standing(runs: list[Finished], recipes: tuple[str, ...], plans: _Plans) -> Standing:
    runs = sorted(runs, key=lambda each: each.record.config.seed)
    records = [each.record for each in runs]
    config = records[0].config
    plan = next(filter(None, map(plans.get, recipes)), None)
    closest, changed = _closest(config, _planned(plan) if plan else ())
    label = str(closest.cell.method) if closest else config.method
    printed = plan.recipe.table.printed(label) if plan else None
    known = methods.available().get(config.method)
    return Standing(
        config=config,
        recipes=recipes,
        label=label,
        name=printed or (known.title if known else label),
        settings=tuple(f"{axis}={value}" for axis, value in closest.cell.settings) if closest else (),
        changed=changed,
        head=records[0].deployed,
        seeds=tuple(record.config.seed for record in records),
        values=tuple(each.value for each in runs),
        hours=tuple(record.hours for record in records),
        runs=tuple(record.id for record in records),
        computed=tuple(dict.fromkeys(record.compute_summary for record in records if record.compute_summary)),
    )


def _planned(plan: Plan) -> Iterator[Run]:
    """One run of every cell, and that of its teacher: the others differ from it in their seed alone."""
    for first in (cell.runs[0] for cell in plan.cells if cell.runs):
        yield from (first, *first.needs)


def _closest(config: RunConfig, planned: Iterable[Run]) -> tuple[Run | None, tuple[str, ...]]:
    """Return the planned run from which the configuration differs least, and the differences.

    Without a plan the differences are those to the method's and the training's defaults.
    """
    mine = flat_settings(config)
    best: Run | None = None
    least: tuple[str, ...] = ()
    for run in planned:
        other = run.config
        if (other.dataset, other.network, other.method) != (config.dataset, config.network, config.method):
            continue
        theirs = flat_settings(other)
        differences = tuple(f"{key}={value}" for key, value in mine.items() if theirs.get(key, None) != value)
        if best is None or len(differences) < len(least):
            best, least = run, differences
    return best, least if best else tuple(f"{key}={value}" for key, value in _own(config).items())


def flat_settings(config: LearningConfig) -> dict[str, object]:
    """Return every setting by its dotted key, those of the method with its defaults where the method is known."""
    known = methods.available().get(config.method)
    resolved = Resolved(config.sections, known.Config(**config.settings) if known else None)
    return resolved.flat(config.method)


def _own(config: RunConfig) -> dict[str, object]:
    """Return the settings of a run whose recipe is not known, without those at their defaults."""
    training = {"training.epochs": config.epochs}
    data = {f"data.{key}": value for key, value in config.data.model_dump(exclude_defaults=True).items()}
    return training | data | {f"{config.method}.{key}": value for key, value in config.settings.items()}

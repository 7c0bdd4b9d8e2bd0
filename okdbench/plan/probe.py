"""The plan of a recipe of linear probes: the cells of a table whose runs are probes, each of a training of its own."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import cast

from okdbench import data, methods, networks
from okdbench.config import RunConfig
from okdbench.errors import UsageError
from okdbench.networks.counting import weightless
from okdbench.plan.cost import (
    BACKWARD,
    CHECKPOINTS_AT_ONCE,
    FLOPS,
    METRICS_LINE,
    METRICS_OF_HEAD,
    STEP_OVERHEAD,
    RunCost,
    run_cost,
)
from okdbench.plan.describe import assignments, describe_settings
from okdbench.plan.expansion import (
    PlannedAndActual,
    expand_table,
    images_of,
    left_out,
    placed,
    reported_number,
    require_images,
    training_cell,
)
from okdbench.plan.selection import Selection
from okdbench.plan.table import Cell, Plan, Run
from okdbench.recipe.axes import DEFAULT_READING, CellKey
from okdbench.recipe.probe import ProbeRecipe
from okdbench.recipe.problems import Problem, raise_if_any
from okdbench.recipe.schema import Recipe
from okdbench.runs.heads import DEPLOYED, matching
from okdbench.runs.probe import ProbeConfig, ProbeSettings


@dataclass(frozen=True)
class ProbeRun(Run):
    """One probe of one cell with one seed."""

    config: ProbeConfig

    @property
    def title(self) -> str:
        """The run in one line: ``stl10 resnet32 dkel seed 0 (probe of cifar100)``."""
        return f"{super().title} (probe of {self.config.source.dataset})"

    def cost(self) -> RunCost:
        """Return what the probe costs, without the training of its network: of as many heads as are named."""
        config, source = self.config, run_cost(self.config.source)
        trained_on, dataset = data.get(config.source.dataset), data.get(config.dataset)
        width = feature_dim(config.network, trained_on.classes)
        side, heads = config.probe.size or trained_on.image_size, len(config.probe.heads)
        single = round(source.macs * (side / trained_on.image_size) ** 2)
        classify, network = heads * width * dataset.classes, heads * single
        trained = config.data.subset or dataset.train_size - config.data.validation
        tested = (config.data.test_subset or dataset.test_size) + config.data.validation
        epochs, again = config.epochs, config.probe.view == "resized-crop"
        seen = tested + trained * (epochs if again else 1)  # images that pass through the network
        step = (1 + BACKWARD) * classify + (network if again else 0)
        steps = data.EpochBatches(trained, config.training.batch_size).steps
        parameters = classify + heads * dataset.classes
        weights, metrics = 4 * parameters, epochs * (METRICS_LINE + heads * METRICS_OF_HEAD)
        return RunCost(
            config,
            parameters=parameters,
            macs=single,
            step=step / ((1 + BACKWARD) * single),
            petaflop=2 * (seen * network + epochs * (trained * (1 + BACKWARD) + tested) * classify) / 1e15,
            gpu_hours=(epochs * steps * STEP_OVERHEAD + 2 * seen * network / FLOPS) / 3600,
            stored=weights + metrics,
            working=weights + metrics + CHECKPOINTS_AT_ONCE * 2 * weights,
        )


@dataclass(frozen=True)
class ProbePlan(Plan):
    """A recipe's selected cells; its runs are probes, and the trainings that they read."""

    recipe: ProbeRecipe

    def description(self) -> list[tuple[str, str]]:
        """Return how networks are trained, how they are probed, and what is compared."""
        probe = self.recipe.probe
        parts = probe.model_dump(mode="json", exclude={"training", "data"}, exclude_none=True)
        settings = describe_settings(probe.training, probe.data)
        return [
            *super().description(),
            ("probe", assignments(parts)),
            *((f"probe {name}", text) for name, text in settings),
        ]


def expand_probes(recipe: ProbeRecipe, selection: Selection) -> ProbePlan:
    """Return the cells and runs of a table of probes."""
    cells = expand_table(recipe, selection, _probe_cell).cells
    raise_if_any(placed(recipe, selection, problem) for cell in cells for problem in _unread_heads(cell))
    return ProbePlan(recipe, selection, cells)


def _probe_cell(
    recipe: Recipe, selection: Selection, key: CellKey, seeds: tuple[int, ...], resolved: PlannedAndActual
) -> Cell:
    """Return the cell with its probes, or with the reason why it has none."""
    probe = cast(ProbeSettings, resolved.actual.sections["probe"])
    trained = training_cell(recipe, selection, key._replace(dataset=probe.source), seeds, resolved)
    unavailable = left_out(recipe, key) or trained.unavailable or _unknown(key.dataset)
    cell = replace(
        trained,
        key=key,
        reported=reported_number(recipe, key),
        protocol=recipe.protocol_of(key),
        left_out=left_out(recipe, key) is not None,
        unavailable=unavailable,
        runs=(),
    )
    if unavailable:
        return cell
    dataset = images_of(key.dataset, selection)
    require_images(recipe, selection, data.get(dataset), probe.data, probe.training.batch_size, section=("probe",))
    changed = [
        f"probe.source={change.partition('=')[2]}" if change.startswith("dataset=") else change
        for change in trained.changed
    ]
    if dataset != key.dataset:
        changed.insert(0, f"dataset={dataset}")
    configs = [
        ProbeConfig(dataset=dataset, source=run.config.source, probe=probe, seed=run.seed) for run in trained.runs
    ]
    return replace(cell, changed=tuple(changed), runs=tuple(ProbeRun(config, key) for config in configs))


def _unread_heads(cell: Cell) -> Iterator[Problem]:
    """Find a cell's number that would be read from a head of which no classifier reads the features."""
    config = cell.runs[0].config if cell.runs else None
    if not isinstance(config, ProbeConfig):
        return
    wanted, head = config.probe.heads, cell.protocol.head
    if head == DEPLOYED and DEPLOYED in wanted:
        return
    where = ("probe", "heads")
    names, deployed = _heads(config.source.model_copy(update={"seed": 0}).model_dump_json())
    probed = matching(wanted, names, deployed)
    if not probed:
        yield Problem(where, f"{config.method} has none of them; its heads are {', '.join(names)}")
    elif not head.resolve_deployed(deployed if deployed in probed else probed[0]).among(probed):
        what = "the protocol" if cell.reading == DEFAULT_READING else f"the reading {cell.reading}"
        lacking = head.resolve_deployed(deployed).among(names)
        remedy = f"add {', '.join(lacking)}" if lacking else f"let {what} name one of those, or leave it out"
        yield Problem(where, f"{what} of {cell.method} needs {head}, and only {', '.join(probed)} is read; {remedy}")


@cache
def _heads(config: str) -> tuple[tuple[str, ...], str]:
    """Return the heads of the method of a training, given in JSON, and the one that it deploys."""
    run = RunConfig.model_validate_json(config)
    return methods.heads(run, data.get(run.dataset).classes)


def _unknown(dataset: str) -> str | None:
    """Return that there is no such data set; None if there is."""
    try:
        data.get(dataset)
    except UsageError as error:
        return str(error)
    return None


@cache
def feature_dim(network: str, classes: int) -> int:
    """Return the width of the features that a classifier of the network reads; of a pair that of the first."""
    with weightless():
        return networks.several(network)[0].build(classes).feature_dim

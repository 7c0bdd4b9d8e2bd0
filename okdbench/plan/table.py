"""The plan of a table: its cells, the numbers printed for them, and their runs."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from okdbench import methods
from okdbench.config import LearningConfig, RunConfig
from okdbench.networks import NetworkName
from okdbench.plan.describe import describe_plan
from okdbench.plan.selection import Selection
from okdbench.recipe.axes import DEFAULT_READING, CellKey
from okdbench.recipe.label import Label
from okdbench.recipe.schema import Metric, Protocol, Recipe

if TYPE_CHECKING:
    from okdbench.plan.cost import CellCost, RunCost


@dataclass(frozen=True)
class Reported:
    """A printed number, in percent of ``metric``; ``std`` and ``n`` are None if the source does not give them."""

    mean: float
    std: float | None
    n: int | None
    metric: Metric
    provenance: str
    trust: str | None
    note: str


@dataclass(frozen=True)
class Run:
    """One run of one cell with one seed."""

    config: LearningConfig
    cell: CellKey

    @cached_property
    def id(self) -> str:
        """The hash that identifies the run."""
        return self.config.id

    @property
    def seed(self) -> int:
        """The seed of all its random numbers."""
        return self.config.seed

    @property
    def names(self) -> dict[str, str]:
        """What it trains, keyed by table heading; data set and network are the actual ones."""
        return {**self.cell.names, "data set": self.config.dataset, "network": self.config.network}

    @property
    def title(self) -> str:
        """The run in one line: ``cifar100 resnet32 dkel alpha=0.2 seed 0``."""
        return " ".join([*filter(None, self.names.values()), f"seed {self.seed}"])

    @property
    def needs(self) -> "tuple[Run, ...]":
        """The runs that must finish first because this one needs their networks, such as a teacher's, in that order."""
        return tuple(Run(each, CellKey(each.dataset, each.network, Label(each.method))) for each in self.config.needs)

    def cost(self) -> "RunCost":
        """Return what it costs, without the runs that it needs."""
        from okdbench.plan.cost import run_cost

        return run_cost(self.config.source)

    def resolved(self) -> dict[str, Any]:
        """Id, folder, label and configuration, with the defaults of the method."""
        config = self.config.model_dump(mode="json")
        training = config.get("source", config)
        training["settings"] = methods.get(self.config.method).Config(**self.config.settings).model_dump(mode="json")
        return {"id": self.id, "folder": self.config.folder, "label": str(self.cell.method), **config}


@dataclass(frozen=True)
class Cell:
    """One number of the table.

    ``key`` says which one, ``trained_network`` is the network of its runs, which may be another than the printed one;
    ``unavailable`` says why the cell cannot be trained (then it has no runs), ``left_out`` that the recipe leaves it
    out; ``changed`` lists what differs from the recipe, such as ``training.epochs=2``.
    """

    key: CellKey
    trained_network: NetworkName
    reported: Reported | None
    protocol: Protocol
    unavailable: str | None
    changed: tuple[str, ...]
    runs: tuple[Run, ...]
    left_out: bool = False

    @property
    def missing(self) -> str | None:
        """Why the cell cannot be trained, unless the recipe leaves it out and no number is printed for it."""
        return None if self.left_out and self.reported is None else self.unavailable

    @property
    def dataset(self) -> str:
        """The data set."""
        return self.key.dataset

    @property
    def network(self) -> str:
        """The network that the table prints."""
        return self.key.network

    @property
    def method(self) -> Label:
        """The label in the grid."""
        return self.key.method

    @property
    def settings(self) -> tuple[tuple[str, Any], ...]:
        """The values of the axes of its method's settings."""
        return self.key.settings

    @property
    def reading(self) -> str:
        """How its number is read from the runs."""
        return self.key.reading

    def value(self, axis: str, separate_readings: bool = True) -> Any:
        """Return where the cell lies on an axis; None on a setting that its method does not have.

        Where readings are not ``separate``, they stand beside their methods: ``LABEL@READING``.
        """
        if axis == "method" and self.reading != DEFAULT_READING and not separate_readings:
            return Label(f"{self.method}@{self.reading}")
        return {**self.key._asdict(), **dict(self.settings)}.get(axis)

    @property
    def facts(self) -> dict[str, Any]:
        """Which cell this is, for programs."""
        return {**self.key._asdict(), "settings": dict(self.settings), "trained": self.trained_network}

    def described(self) -> dict[str, Any]:
        """`facts` with the protocol, the printed number, and why the cell cannot be trained."""
        return {
            **self.facts,
            "protocol": self.protocol.model_dump(mode="json"),
            "reported": asdict(self.reported) if self.reported else None,
            "unavailable": self.unavailable,
        }


@dataclass(frozen=True)
class Plan:
    """A recipe's selected cells, in the order of its grid."""

    recipe: Recipe
    selection: Selection
    cells: tuple[Cell, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of all cells, cell by cell, each once and after those that it needs, which several may share."""
        found: dict[str, Run] = {}
        for cell in self.cells:
            for run in cell.runs:
                for each in (*run.needs, run):
                    found.setdefault(each.id, each)
        return tuple(found.values())

    @property
    def trainings(self) -> tuple[Run, ...]:
        """One run of each training of a method, in the order of the cells: readings of one training share it."""
        first = {cell.runs[0].id: cell.runs[0] for cell in self.cells if cell.runs}
        return tuple(run for run in first.values() if isinstance(run.config, RunConfig))

    def description(self) -> list[tuple[str, str]]:
        """Return what is trained and compared, by name."""
        return describe_plan(self)

    def costs(self) -> "list[CellCost]":
        """Return the cost of every cell that can be trained."""
        from okdbench.plan.cost import estimate

        return estimate(self)

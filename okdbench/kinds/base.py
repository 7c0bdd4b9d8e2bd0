"""The contract of a kind, and what the rest of okdbench knows of its cells, runs and reports."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from okdbench.config import Configuration
    from okdbench.plan.cost import CellCost
    from okdbench.plan.selection import Selection
    from okdbench.recipe.header import RecipeHeader
    from okdbench.recipe.problems import Problem
    from okdbench.report.charts import Chart
    from okdbench.report.formats import Content
    from okdbench.report.model import Appendix, Choice, Document
    from okdbench.runs.folder import RunFolder
    from okdbench.runs.interleave import Turns
    from okdbench.runs.records import DoneRecord, Epoch
    from okdbench.training.distributed import Processes
    from okdbench.worker import WorkerOptions


class AnyRun(Protocol):
    """One run of a plan: what is executed once, in a folder of its own."""

    @property
    def config(self) -> "Configuration":
        """The resolved configuration; its hash identifies the run."""

    @property
    def id(self) -> str:
        """The hash that identifies the run."""

    @property
    def seed(self) -> int:
        """The seed of all its random numbers."""

    @property
    def names(self) -> dict[str, str]:
        """What it trains or simulates, keyed by table heading."""

    @property
    def title(self) -> str:
        """The run in one line."""

    def resolved(self) -> dict[str, Any]:
        """Id, folder and whole configuration, defaults included, for ``show --resolved``."""


class AnyCell(Protocol):
    """One number, or one row, of the recipe's table.

    ``changed`` lists what differs from the recipe; ``unavailable`` says why the cell has no runs.
    """

    @property
    def runs(self) -> Sequence[AnyRun]:
        """The runs that the cell is read from."""

    @property
    def changed(self) -> tuple[str, ...]:
        """Changed settings, such as ``training.epochs=2``."""

    @property
    def unavailable(self) -> str | None:
        """Why the cell cannot be run, None if it can."""

    @property
    def missing(self) -> str | None:
        """The same, but None for a cell that the recipe leaves out and for which no number is printed."""

    @property
    def facts(self) -> dict[str, Any]:
        """Which cell this is, for programs."""

    def described(self) -> dict[str, Any]:
        """`facts` with all else that the recipe says of the cell, for ``show --format json``."""


class AnyPlan(Protocol):
    """A recipe's selected cells and their runs."""

    @property
    def recipe(self) -> "RecipeHeader":
        """The recipe."""

    @property
    def selection(self) -> "Selection":
        """What was selected and changed."""

    @property
    def cells(self) -> Sequence[AnyCell]:
        """The selected cells, in the recipe's order."""

    @property
    def runs(self) -> Sequence[AnyRun]:
        """The runs of all cells, each once and after those that it depends on."""

    def description(self) -> list[tuple[str, str]]:
        """Return names and texts for ``show``: what is run and compared."""

    def costs(self) -> "Sequence[CellCost]":
        """Return what each cell that can be run costs; empty if no network is trained."""


class AnyReport(Protocol):
    """The results of a plan's runs."""

    @property
    def plan(self) -> AnyPlan:
        """The plan."""

    def document(self) -> "Document":
        """Return the report in the order in which it is read."""

    def paper(self) -> "Document":
        """Return the measured numbers alone as they stand in a paper; raise UsageError where the kind has no table."""

    def explanation(self, cell: str) -> "Content":
        """Return how the numbers of the cells of that name come about; raise UsageError where there are none."""

    def appendix(self) -> "Appendix":
        """Return what a reader of the document looks up: figures, audit, environment, commands."""

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary per row of the long form (CSV)."""

    def facts(self) -> dict[str, Any]:
        """Return the whole report for programs (JSON)."""

    def chart(self) -> "Chart | None":
        """Return the recipe's figure; None if it has none, or nothing to draw yet."""

    def charts(self) -> "Mapping[str, Chart]":
        """Return every figure that the records allow, by the name that its file gets."""

    def checks(self) -> list[tuple[bool, str]]:
        """Return for each printed number whether it is reproduced, and a line about it."""


@runtime_checkable
class Kind(Protocol):
    """A kind of recipe; its methods import what they need only when called, so that finding a kind is cheap."""

    name: str
    """What ``kind:`` says in a recipe and ``kind`` in a run's configuration."""

    def read(self, raw: Mapping[str, Any]) -> "tuple[RecipeHeader | None, list[Problem]]":
        """Return the recipe that the parsed file describes, and everything that is wrong with it."""

    def expand(self, recipe: Any, selection: "Selection") -> AnyPlan:
        """Return the selected cells and runs; raise UsageError with one line for each mistake in the selection."""

    def configuration(self) -> "type[Configuration]":
        """Return the model of a run's configuration."""

    def record(self) -> "type[DoneRecord]":
        """Return the model of the record that a run leaves."""

    def doubts(self, record: Any, epochs: "Sequence[Epoch]") -> list[str]:
        """Return what cannot come from executing the run of ``record``, in one line each; its files are sound."""

    def unchecked(self, record: Any) -> list[str]:
        """Return what `doubts` cannot tell of a record here, in one line each, for lack of a plugin for instance."""

    def execute(
        self,
        config: Any,
        folder: "RunFolder",
        options: "WorkerOptions",
        stop: Callable[[], bool],
        processes: "Processes",
    ) -> "Turns[None]":
        """Do one run in its folder and leave its record; `Interrupted` when ``stop`` says so."""

    def report(self, plan: Any, results: Path, choice: "Choice") -> AnyReport:
        """Return what the runs under ``results`` say about the plan; raise UsageError naming a damaged file."""

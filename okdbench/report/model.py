"""Content for any format: measured cells, the paper's table of them, plain tables, and documents."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from okdbench.plan import Cell, Plan
from okdbench.recipe.axes import DEFAULT_READING
from okdbench.report.numbers import DASH
from okdbench.results.cells import CellResult, Verdict
from okdbench.results.protocol import HeadAndEpoch

if TYPE_CHECKING:
    from okdbench.report.charts import Chart, Plot

Choice = Literal["recipe", "last", "best", "all"] | HeadAndEpoch
CHOSEN = "Chosen protocol"
"""The reading under a protocol that is not the recipe's."""
T = TypeVar("T")


@dataclass(frozen=True)
class MeasuredTable:
    """A plan and its measured cells; under ``choice`` "all" every cell comes once for each head at two epochs.

    ``results`` is the folder of the records.
    """

    plan: Plan
    choice: Choice
    cells: tuple[CellResult, ...]
    results: Path = Path()

    @property
    def paired(self) -> bool:
        """Whether the paper prints a number for any of the cells."""
        return any(result.cell.reported for result in self.cells)

    def name(self, value: Any) -> str:
        """Return what the paper calls a value or an axis of the grid.

        The recipe's own reading is not called so where another one took its head and epoch (see `evaluate_cells`).
        """
        headings = {"dataset": "Data set", "network": "Network", "method": "Method"}
        if value == DEFAULT_READING and len(self.cells) < len(self.plan.cells) and self.choice not in ("recipe", "all"):
            return CHOSEN
        return self.plan.recipe.table.printed(str(value)) or headings.get(value, str(value))

    def label(self, value: Any) -> str:
        """Return a value of the grid as the paper prints it; a dash where the cell's method lacks the axis."""
        return DASH if value is None else self.name(value)

    def value(self, cell: Cell, axis: str) -> Any:
        """Return where the cell lies on an axis of the table; None on a setting that its method does not have."""
        return cell.value(axis, self.plan.recipe.table.separates_readings)


@dataclass(frozen=True)
class Entry:
    """One printed cell: ours, a note on its runs, a verdict's mark, and the paper's number ("" where it has none).

    ``worse``: a test finds ours worse than the paper's, as a higher error or a lower accuracy.
    ``place``: 1 for the best mean of those on the same data set and network, 2 for the second, 0 for others.
    For formats that show more on request there are ``details``, names and texts, and ``curves``, over the epochs.
    """

    ours: str
    note: str
    mark: str
    theirs: str
    verdict: Verdict
    worse: bool = False
    place: int = 0
    details: tuple[tuple[str, str], ...] = ()
    curves: "Plot | None" = None

    @property
    def measured(self) -> bool:
        """Whether there is a number of ours."""
        return not self.ours.startswith(DASH)

    @property
    def own(self) -> str:
        """Ours in one line, with note and mark."""
        return " ".join(filter(None, (self.ours, f"({self.note})" if self.note else "", self.mark)))

    @property
    def lines(self) -> tuple[str, ...]:
        """Ours with its mark, the paper's number, the note; one line where the table has no printed numbers."""
        if not self.theirs:
            return (self.own,)
        return tuple(filter(None, (f"{self.ours} {self.mark}".strip(), self.theirs, self.note)))


@dataclass(frozen=True)
class Panel:
    """One part of the table: each row is its label and an entry for every column, None if the grid has no cell."""

    title: str
    rows: tuple[tuple[str, tuple[Entry | None, ...]], ...]


@dataclass(frozen=True)
class PrintedTable:
    """The table: ``corner`` heads the labels; all panels have the same columns."""

    corner: str
    columns: tuple[str, ...]
    panels: tuple[Panel, ...]
    paired: bool


@dataclass(frozen=True)
class Listing:
    """A plain table of text with a note; the last ``numeric`` columns are numbers.

    Where a table has to be divided, the first ``keys`` columns name the rows of every part: by default the words, or
    the first column of a table without numbers.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: int
    note: str = ""
    keys: int | None = None


@dataclass(frozen=True)
class Document:
    """What a reader sees, from top to bottom; a format meant for a paper leaves out the details.

    ``name`` is the recipe's, for references to its table. A document in the style of a paper has paragraphs on
    ``methods``, in which ``[@KEY]`` cites one of ``references``, the lines of entries in BibTeX. ``others`` are runs
    beside those of the tables: what they are, and the command that shows them. ``emphasis`` says what is bold and what
    is underlined.
    """

    title: str
    source: str
    caption: str
    tables: tuple[PrintedTable | Listing, ...]
    details: tuple[Listing, ...]
    legend: tuple[str, ...]
    name: str = ""
    methods: tuple[str, ...] = ()
    references: tuple[tuple[str, ...], ...] = ()
    others: tuple[tuple[str, str], ...] = ()
    emphasis: str = ""

    def notes(self, emphasised: bool = True) -> tuple[str, ...]:
        """Return the legend, and before it what the emphasis means where the format shows any."""
        return (self.emphasis, *self.legend) if emphasised and self.emphasis else self.legend


@dataclass(frozen=True)
class Appendix:
    """What belongs to a document and is looked up rather than read: a format for paper leaves it out.

    ``charts`` are the recipe's figures; ``audit`` are findings on its printed numbers, a table for
    each check; ``environment`` says on what its runs were computed; ``commands`` reproduce it.
    """

    charts: "tuple[Chart, ...]" = ()
    audit: tuple[Listing, ...] = ()
    environment: Listing | None = None
    commands: tuple[str, ...] = ()


def unique(values: Iterable[T]) -> list[T]:
    """Return each value once, in order of first appearance."""
    return list(dict.fromkeys(values))

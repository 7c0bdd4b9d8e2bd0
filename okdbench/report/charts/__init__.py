"""The content of figures, before they are drawn. Each kind of figure is one module of this folder, found by its name.

A chart has panels with lines, points, bands and bars, and a note that explains them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from okdbench.plugins import Catalog

if TYPE_CHECKING:
    from okdbench.report.model import MeasuredTable

Numbers = tuple[float, ...]
FEW = 12
"""The most numbers on an axis that have a tick each, and the most rows that stand far apart."""


@dataclass(frozen=True)
class Series:
    """One line: ``x`` and ``y``, and ``low`` and ``high``, the edges of its band or of its error bars, if it has any.

    Series of one ``name`` look the same in all panels; those with ``printed`` are the paper's numbers. ``look`` is the
    number of the colour, dashes and marker; without it names are numbered in the order in which they come.
    """

    name: str
    x: Numbers
    y: Numbers
    low: Numbers = ()
    high: Numbers = ()
    printed: bool = False
    look: int | None = None


@dataclass(frozen=True)
class Plot:
    """One panel. With ``categories`` the x of its series are indices into them; ``dense``: a point for each epoch.

    ``drops`` are the x of vertical lines, ``floor`` is where y starts if not at its smallest value. The ``margin``
    shades both sides of the line of equal numbers (``identity``) or of a zero difference (``zero``). ``remarks`` stand
    at the right of the categories. ``bars`` stand over each x. With ``legend`` the panel has one of its own.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    categories: tuple[str, ...] = ()
    dense: bool = False
    drops: Numbers = ()
    floor: float | None = None
    identity: bool = False
    zero: bool = False
    margin: float = 0.0
    remarks: tuple[str, ...] = ()
    bars: bool = False
    legend: bool = False

    @property
    def x_values(self) -> list[float]:
        """The different x of all series, in order."""
        return sorted({x for series in self.series for x in series.x})

    @property
    def joined(self) -> bool:
        """Whether lines join the points of a series."""
        alone = bool(self.categories) or self.identity or self.bars
        return not alone and any(len(series.x) > 1 for series in self.series)

    @property
    def has_tick_for_each(self) -> bool:
        """Whether each number on the axis has a tick: those of bars, and of lines with few points."""
        return self.bars or (self.joined and not self.dense and len(self.x_values) <= FEW)


@dataclass(frozen=True)
class Chart:
    """A figure: rows of panels under a title, and below them a note that says what is drawn."""

    title: str
    rows: tuple[tuple[Plot, ...], ...]
    note: str


@dataclass(frozen=True)
class ChartKind:
    """A kind of figure: its name, what it shows, the function that makes it of a table, and its ``place`` among all.

    The function returns None where the records have nothing to draw. A module of this folder assigns the kind to
    ``CHART``, as does the file of a plugin; an installed package announces it under ``okdbench.report.charts``.
    """

    name: str
    what: str
    make: "Callable[[MeasuredTable], Chart | None]"
    place: int = 9


_CATALOG = Catalog(__name__, __path__, "CHART", "figure", ChartKind)


def get(name: str) -> ChartKind:
    """Return the kind of figure of that name; raise UsageError with a suggestion if there is none."""
    return _CATALOG.get(name)


def all_charts(report: "MeasuredTable") -> dict[str, Chart]:
    """Return every figure that the records of a table allow, by the name of its kind, in their order."""
    kinds = sorted(map(_CATALOG.get, _CATALOG.names()), key=lambda kind: kind.place)
    made = {kind.name: kind.make(report) for kind in kinds} if report.choice != "all" else {}
    return {name: chart for name, chart in made.items() if chart}


def in_rows(plots: Iterable[Plot], columns: int) -> tuple[tuple[Plot, ...], ...]:
    """Arrange panels in rows of ``columns`` each."""
    listed = tuple(plots)
    return tuple(listed[start : start + columns] for start in range(0, len(listed), columns))


def as_numbers(values: Iterable[Any]) -> Numbers:
    """Coordinates of a series from any numbers."""
    return tuple(float(value) for value in values)

"""Draws charts with matplotlib, which is imported only here and only when something is drawn."""

import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from okdbench.errors import UsageError
from okdbench.files import atomic_write
from okdbench.report.charts import Chart, Plot, Series
from okdbench.report.model import unique

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INSTALL = 'figures need matplotlib: pip install "okdbench[plot]"'
FORMATS = (".svg", ".png", ".pdf")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which are safe for colour-blind readers; without yellow, which is faint on white."""
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e5e5",
    "legend.frameon": False,
    "svg.hashsalt": "okdbench",
    "text.parse_math": False,
}
UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {"Software": None}}
"""Metadata without which the same numbers give the same file."""
NOTE_CHARACTERS = 16
"""Characters of the note that fit into an inch."""


def installed() -> bool:
    """Return whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def require_drawable(path: Path) -> None:
    """Raise UsageError if ``path`` cannot be drawn: its suffix is not one of `FORMATS`, or matplotlib is absent."""
    if path.suffix not in FORMATS:
        raise UsageError(f"{path}: a figure's file ends in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    if not installed():
        raise UsageError(INSTALL)


def draw(chart: Chart, path: Path) -> None:
    """Write the chart to ``path``, whose suffix is its format; the same chart gives the same bytes.

    Raise UsageError if `require_drawable` does, or where the file cannot be written.
    """
    require_drawable(path)
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):  # independent of the user's matplotlibrc
        columns = max(len(row) for row in chart.rows)
        width = max(6.0, 3.0 * columns)
        figure = Figure(figsize=(width, 1.2 + sum(_height(row[0]) for row in chart.rows)), layout="constrained")
        _compose(figure, chart, columns, width)
        try:
            with atomic_write(path, "wb") as file:
                figure.savefig(file, format=path.suffix[1:], dpi=150, metadata=UNDATED[path.suffix])
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another file") from None


def _height(plot: Plot) -> float:
    """Inches of a panel."""
    return 0.6 + 0.35 * len(plot.categories) if plot.categories else 2.4


def _compose(figure: "Figure", chart: Chart, columns: int, width: float) -> None:
    """All panels, one legend for all, the title above and the note below."""
    names = unique(series.name for row in chart.rows for plot in row for series in plot.series)
    grid = figure.subplots(len(chart.rows), columns, squeeze=False)
    for axes, row in zip(grid, chart.rows, strict=True):
        for index, axis in enumerate(axes):
            if index >= len(row):
                axis.set_axis_off()
                continue
            _plot(axis, row[index], names)
            if index and row[index].y_label == row[0].y_label:
                axis.set_ylabel("")
    figure.suptitle(chart.title, fontsize=11, fontweight="bold")
    note = textwrap.fill(chart.note, round(NOTE_CHARACTERS * width))
    figure.supxlabel(note, fontsize=8, x=0.01, ha="left", color="#444444")
    if names != [""]:
        entries: dict[str, Artist] = {}
        for axis in figure.axes:
            for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
                entries.setdefault(name, handle)
        figure.legend(list(entries.values()), list(entries), loc="outside right center")


def _plot(axis: "Axes", plot: Plot, names: list[str]) -> None:
    """One panel."""
    from matplotlib.ticker import MaxNLocator

    axis.set_title(plot.title)
    for series in plot.series:
        index = names.index(series.name)
        if plot.dense:
            _curve(axis, series, index)
        else:
            _points(axis, series, index, bool(plot.categories))
    if plot.categories:
        axis.set_yticks(range(len(plot.categories)), plot.categories)
        axis.set_ylim(len(plot.categories) - 0.5, -0.5)
        axis.set_xlabel(plot.y_label)
        return
    axis.set_xlabel(plot.x_label)
    axis.set_ylabel(plot.y_label)
    if plot.dense:
        axis.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))
    else:
        axis.set_xticks(sorted({x for series in plot.series for x in series.x}))
    axis.margins(x=0.02 if plot.dense else 0.06)


def _curve(axis: "Axes", series: Series, index: int) -> None:
    """A line in its band; a single epoch is a point."""
    colour = COLOURS[index % len(COLOURS)]
    style: dict[str, Any] = {"color": colour, "linestyle": DASHES[index % len(DASHES)], "linewidth": 1.4}
    marker = MARKERS[index % len(MARKERS)] if len(series.x) == 1 else None
    axis.plot(series.x, series.y, marker=marker, label=series.name, **style)
    if series.low:
        axis.fill_between(series.x, series.low, series.high, color=colour, alpha=0.15, linewidth=0)


def _points(axis: "Axes", series: Series, index: int, horizontal: bool) -> None:
    """Points with error bars, joined where x is a number; the paper's are hollow. ``horizontal``: x runs downwards."""
    colour = COLOURS[index % len(COLOURS)]
    style: dict[str, Any] = {"color": colour, "marker": MARKERS[index % len(MARKERS)], "markersize": 5}
    if series.printed:
        style |= {"markerfacecolor": "white", "linestyle": "none" if horizontal else ":", "linewidth": 1.0, "zorder": 1}
    else:
        style |= {"label": series.name, "linestyle": "none" if horizontal else "-", "linewidth": 1.2, "capsize": 3}
    lengths = None
    if series.low:
        lengths = [
            [y - low for y, low in zip(series.y, series.low, strict=True)],
            [high - y for y, high in zip(series.y, series.high, strict=True)],
        ]
    if horizontal:
        axis.errorbar(series.y, series.x, xerr=lengths, **style)
    else:
        axis.errorbar(series.x, series.y, yerr=lengths, **style)

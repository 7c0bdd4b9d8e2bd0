"""Draws charts with matplotlib, which is imported only here and only when something is drawn."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from okdbench.errors import UsageError
from okdbench.files import atomic_write
from okdbench.printable import all_printable
from okdbench.report.charts import FEW, Chart, Plot, Series
from okdbench.report.model import unique

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".svg", ".png", ".pdf")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe and Ito's, which are safe for colour-blind readers; grey instead of yellow, which is faint on white."""
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
NOTE_CHARACTERS, TITLE_CHARACTERS = 16, 11
"""Characters of the note and of the title that fit into an inch."""


def require_drawable(path: Path) -> None:
    """Raise UsageError if the suffix of ``path`` is not one of `FORMATS`."""
    if path.suffix not in FORMATS:
        raise UsageError(f"{path}: a figure's file ends in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")


def draw(chart: Chart, path: Path) -> None:
    """Write the chart to ``path``, whose suffix is its format; the same chart gives the same bytes.

    Raise UsageError if `require_drawable` does, or where the file cannot be written.
    """
    require_drawable(path)
    chart = all_printable(chart)
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):  # independent of the user's matplotlibrc
        columns = max(len(row) for row in chart.rows)
        width = max(6.0, columns * max(_width(plot) for row in chart.rows for plot in row))
        heights = [max(map(_height, row)) for row in chart.rows]
        figure = Figure(figsize=(width, 1.2 + max(sum(heights), _legend_height(chart))), layout="constrained")
        _compose(figure, chart, heights, width)
        try:
            with atomic_write(path, "wb") as file:
                figure.savefig(file, format=path.suffix[1:], dpi=150, metadata=UNDATED[path.suffix])
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another file") from None


def _height(plot: Plot) -> float:
    """Inches of a panel."""
    if plot.identity:
        return 3.4
    return 0.6 + (0.2 if len(plot.categories) > FEW else 0.35) * len(plot.categories) if plot.categories else 2.4


def _legend_height(chart: Chart) -> float:
    """Inches of the legend that all panels share."""
    plots = [plot for row in chart.rows for plot in row if not plot.legend]
    return 0.2 * len({series.name for plot in plots for series in plot.series}) + 0.4


def _width(plot: Plot) -> float:
    """Inches of a panel."""
    return 4.6 if plot.remarks else 3.6 if plot.identity or plot.legend else 3.0


def _compose(figure: "Figure", chart: Chart, heights: list[float], width: float) -> None:
    """All panels, one legend for those without their own, the title above and the note below."""
    columns = max(len(row) for row in chart.rows)
    names = unique(series.name for row in chart.rows for plot in row for series in plot.series)
    grid = figure.subplots(len(chart.rows), columns, squeeze=False, height_ratios=heights)
    for axes, row in zip(grid, chart.rows, strict=True):
        for index, axis in enumerate(axes):
            if index >= len(row):
                axis.set_axis_off()
                continue
            _plot(axis, row[index], names)
            if index and row[index].y_label == row[0].y_label and not row[index].categories:
                axis.set_ylabel("")
    figure.suptitle(textwrap.fill(chart.title, round(TITLE_CHARACTERS * width)), fontsize=10, fontweight="bold")
    note = textwrap.fill(chart.note, round(NOTE_CHARACTERS * width))
    figure.supxlabel(note, fontsize=8, x=0.01, ha="left", color="#444444")
    shared = [
        a for axes, row in zip(grid, chart.rows, strict=True) for a, p in zip(axes, row, strict=False) if not p.legend
    ]
    entries: dict[str, Artist] = {}
    for axis in shared:
        for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(name, handle)
    if entries:
        figure.legend(list(entries.values()), list(entries), loc="outside right center")


def _plot(axis: "Axes", plot: Plot, names: list[str]) -> None:
    """One panel."""
    from matplotlib.ticker import MaxNLocator

    axis.set_title(plot.title)
    for place, series in enumerate(plot.series):
        look = names.index(series.name) if series.look is None else series.look
        if plot.dense:
            _curve(axis, series, look)
        elif plot.bars:
            _bars(axis, series, look, plot, place)
        else:
            _points(axis, series, look, plot)
    for x in plot.drops:
        axis.axvline(x, color="#777777", linestyle=":", linewidth=0.9, zorder=0.5)
    if plot.legend:
        axis.legend(fontsize=6.5, handlelength=2.6, labelspacing=0.3)
    if plot.categories:
        _rows(axis, plot)
        return
    axis.set_xlabel(plot.x_label)
    axis.set_ylabel(plot.y_label)
    if plot.identity:
        _equal(axis, plot)
    elif plot.dense:
        axis.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))
        axis.set_ylim(bottom=plot.floor)
    elif plot.has_tick_for_each:
        _ticks(axis, plot)
    if not plot.identity:
        axis.margins(x=0.02 if plot.dense else 0.06)


def _ticks(axis: "Axes", plot: Plot) -> None:
    """One tick for each number on the axis; bars stand at equal distances, whatever the numbers are."""
    values = plot.x_values
    if plot.bars:
        axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        ends = [edge for series in plot.series for edge in (*series.y, *series.low, *series.high)]
        room = 0.15 * ((max(ends) - min(ends)) or 1.0)
        axis.set_ylim(min(ends) - room, max(ends) + room)
    else:
        axis.set_xticks(values)


def _rows(axis: "Axes", plot: Plot) -> None:
    """Name the rows of a panel whose points stand beside each other, and draw the line to compare them with."""
    axis.set_yticks(range(len(plot.categories)), plot.categories)
    axis.set_ylim(len(plot.categories) - 0.5, -0.5)
    axis.set_xlabel(plot.y_label)
    if len(plot.categories) > FEW:
        axis.tick_params(axis="y", labelsize=7.5)
    if plot.zero:
        axis.axvspan(-plot.margin, plot.margin, color="#000000", alpha=0.08, linewidth=0, zorder=0.4)
        axis.axvline(0, color="#444444", linewidth=0.9, zorder=0.5)
    for row, remark in enumerate(plot.remarks):
        axis.text(1.02, row, remark, transform=axis.get_yaxis_transform(), va="center", fontsize=8)


def _equal(axis: "Axes", plot: Plot) -> None:
    """The line of equal numbers with its margin, over axes of the same length; long error bars reach beyond them."""
    from matplotlib.ticker import MaxNLocator

    ends = [edge for series in plot.series for edge in (*series.x, *series.y)]
    room = 0.12 * (max(ends) - min(ends)) + plot.margin + 0.1
    low, high = min(ends) - room, max(ends) + room
    line = [low, high]
    shade: dict[str, Any] = {"color": "#000000", "alpha": 0.08, "linewidth": 0, "zorder": 0.4}
    axis.fill_between(line, [x - plot.margin for x in line], [x + plot.margin for x in line], **shade)
    axis.plot(line, line, color="#444444", linewidth=0.9, zorder=0.5)
    axis.set(xlim=line, ylim=line, aspect="equal")
    for each in (axis.xaxis, axis.yaxis):
        each.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))


def _style(look: int) -> dict[str, Any]:
    """Return colour and marker of that number: 56 different ones."""
    marker = MARKERS[(look + look // len(COLOURS)) % len(MARKERS)]
    return {"color": COLOURS[look % len(COLOURS)], "marker": marker}


def _curve(axis: "Axes", series: Series, look: int) -> None:
    """A line in its band; a single epoch is a point."""
    style = _style(look)
    if len(series.x) > 1:
        del style["marker"]
    axis.plot(series.x, series.y, linestyle=DASHES[look % len(DASHES)], linewidth=1.4, label=series.name, **style)
    if series.low:
        axis.fill_between(series.x, series.low, series.high, color=style["color"], alpha=0.15, linewidth=0)


def _bars(axis: "Axes", series: Series, look: int, plot: Plot, place: int) -> None:
    """Bars side by side; the paper's are hollow."""
    values, width = plot.x_values, 0.8 / len(plot.series)
    x = [values.index(each) + (place - (len(plot.series) - 1) / 2) * width for each in series.x]
    colour = _style(look)["color"]
    style: dict[str, Any] = {"edgecolor": colour, "width": width, "linewidth": 1.0}
    style |= {"facecolor": "white", "hatch": "//"} if series.printed else {"facecolor": colour, "label": series.name}
    axis.bar(x, series.y, yerr=_lengths(series), capsize=3, **style)


def _lengths(series: Series) -> list[list[float]] | None:
    """Return the lengths of a series' error bars, None if it has none."""
    if (series.low, series.high) in (((), ()), (series.y, series.y)):
        return None
    return [
        [y - low for y, low in zip(series.y, series.low, strict=True)],
        [high - y for y, high in zip(series.y, series.high, strict=True)],
    ]


def _points(axis: "Axes", series: Series, look: int, plot: Plot) -> None:
    """Points with error bars, joined over an axis of numbers; the paper's are hollow. Categories run downwards."""
    horizontal = bool(plot.categories)
    alone = horizontal or plot.identity
    style: dict[str, Any] = {**_style(look), "markersize": 5, "capsize": 2 if len(plot.categories) > FEW else 3}
    if series.printed:
        style |= {"markerfacecolor": "white", "linestyle": "none" if alone else ":", "linewidth": 1.0, "zorder": 1}
    else:
        style |= {"label": series.name, "linestyle": "none" if alone else "-", "linewidth": 1.2}
    if horizontal:
        axis.errorbar(series.y, series.x, xerr=_lengths(series), **style)
    else:
        axis.errorbar(series.x, series.y, yerr=_lengths(series), **style)

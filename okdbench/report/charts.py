"""The content of a figure, before it is drawn: panels, lines, bands, and a note that explains them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from okdbench.recipe.layout import EPOCH_AXIS, Figure
from okdbench.report.model import MeasuredTable, unique
from okdbench.results.cells import CellResult
from okdbench.results.protocol import Values, describe_head, describe_protocol

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Series:
    """One line: ``x`` and ``y``, and ``low`` and ``high``, the edges of its band or of its error bars, if it has any.

    Series of one ``name`` look the same in all panels; those with ``printed`` are the paper's numbers.
    """

    name: str
    x: Numbers
    y: Numbers
    low: Numbers = ()
    high: Numbers = ()
    printed: bool = False


@dataclass(frozen=True)
class Plot:
    """One panel. With ``categories`` the x of its series are indices into them; ``dense``: a point for each epoch."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    categories: tuple[str, ...] = ()
    dense: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure: rows of panels under a title, and below them a note that says what is drawn."""

    title: str
    rows: tuple[tuple[Plot, ...], ...]
    note: str


def chart(report: MeasuredTable) -> Chart | None:
    """Return the figure that a table's recipe asks for; None if it asks for none or nothing is measured yet."""
    figure = report.plan.recipe.figure
    if figure is None or report.choice == "all" or not any(result.values for result in report.cells):
        return None
    if figure.x == EPOCH_AXIS:
        rows = _over_epochs(report, figure)
    else:
        plots = _over_an_axis(report, figure)
        columns = 1 if any(plot.categories for plot in plots) else min(len(plots), 2)
        rows = tuple(tuple(plots[start : start + columns]) for start in range(0, len(plots), columns))
    return Chart(report.plan.recipe.title, rows, _note(report, figure))


def _over_epochs(report: MeasuredTable, figure: Figure) -> tuple[tuple[Plot, ...], ...]:
    """Chart the accuracy after every epoch, and below it the paired difference to the reference line, if any."""
    levels, apart = [], []
    for title, results in _panels(report, figure):
        curves = {
            _line(report, figure, result): dict(zip(result.seeds, map(np.array, result.curves), strict=True))
            for result in results
            if result.curves
        }
        levels.append(Plot(title, "Epoch", _y_label(report), _curves(curves), dense=True))
        if figure.reference is not None:
            name = report.label(figure.reference)
            reference = curves.get(name, {})
            pairs = {
                line: {seed: run - reference[seed] for seed, run in runs.items() if seed in reference}
                for line, runs in curves.items()
            }
            apart.append(Plot("", "Epoch", f"Difference to {name} (points)", _curves(pairs), dense=True))
    compared = any(plot.series for plot in apart)
    return (tuple(levels), tuple(apart)) if compared else (tuple(levels),)


def _curves(lines: Mapping[str, Mapping[int, Values]]) -> tuple[Series, ...]:
    """Return the mean of each line's runs, [epochs], with one standard deviation to either side."""
    series = []
    for name, by_seed in lines.items():
        if by_seed:
            runs = np.stack(list(by_seed.values()))
            mean, spread = runs.mean(axis=0), runs.std(axis=0, ddof=1) if len(runs) > 1 else None
            edges = ((), ()) if spread is None else (as_numbers(mean - spread), as_numbers(mean + spread))
            series.append(Series(name, as_numbers(range(len(mean))), as_numbers(mean), *edges))
    return tuple(series)


def _over_an_axis(report: MeasuredTable, figure: Figure) -> list[Plot]:
    """Chart the table's numbers, ours and the paper's, over an axis; cells without it are left out."""
    values = [value for value in unique(report.value(r.cell, figure.x) for r in report.cells) if value is not None]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    categories = () if numeric else tuple(report.label(value) for value in values)
    places = {value: float(value) if numeric else float(index) for index, value in enumerate(values)}
    plots = []
    for title, results in _panels(report, figure):
        lines: dict[str, list[CellResult]] = {}
        for result in results:
            if report.value(result.cell, figure.x) is not None:
                lines.setdefault(_line(report, figure, result), []).append(result)
        series = []
        for name, members in lines.items():
            points = [(places[report.value(result.cell, figure.x)], result) for result in members]
            series += [_ours(name, points), _printed(name, points)]
        shown = tuple(each for each in series if each.x)
        x_label = figure.label or report.name(figure.x)
        plots.append(Plot(title, x_label, _y_label(report), shown, categories))
    return plots


def _panels(report: MeasuredTable, figure: Figure) -> Iterator[tuple[str, list[CellResult]]]:
    """The cells of every panel, with its title."""
    panels: dict[tuple[Any, ...], list[CellResult]] = {}
    for result in report.cells:
        panels.setdefault(tuple(report.value(result.cell, axis) for axis in figure.panels or ()), []).append(result)
    for place, results in panels.items():
        yield ", ".join(report.label(value) for value in place), results


def _line(report: MeasuredTable, figure: Figure, result: CellResult) -> str:
    return report.label(report.value(result.cell, figure.lines)) if figure.lines else ""


def _ours(name: str, points: Sequence[tuple[float, CellResult]]) -> Series:
    """Measured numbers with their standard deviation, or a rate with its interval."""
    rows = []
    for x, result in points:
        mean, std, interval = result.summary.mean, result.summary.std, result.summary.ci95
        if mean is not None:
            low, high = interval if result.is_rate and interval else (mean - (std or 0), mean + (std or 0))
            rows.append((x, mean, low, high))
    x_values, y, low_edge, high_edge = (tuple(row[i] for row in rows) for i in range(4))
    return Series(name, x_values, y, low_edge, high_edge)


def _printed(name: str, points: Sequence[tuple[float, CellResult]]) -> Series:
    """Return the paper's numbers, without their spread."""
    known = [(x, result.cell.reported.mean) for x, result in points if result.cell.reported and not result.is_rate]
    return Series(name, tuple(x for x, _ in known), tuple(mean for _, mean in known), printed=True)


def _y_label(report: MeasuredTable) -> str:
    names = {"accuracy": "Top-1 accuracy (%)", "error": "Top-1 error (%)", "collapse rate": "Collapsed runs (%)"}
    return " / ".join(unique(names[result.metric] for result in report.cells))


def _note(report: MeasuredTable, figure: Figure) -> str:
    """Return what points, bands and bars are, and what keeps them from being the recipe's own."""
    measured = [result for result in report.cells if result.values]
    counts = sorted({len(result.values) for result in measured})
    runs = " to ".join(map(str, unique([counts[0], counts[-1]])))
    band = "bands" if figure.x == EPOCH_AXIS else "bars"
    sentences = []
    if any(result.is_rate for result in measured):
        sentences.append(f"Share of n = {runs} runs that ended collapsed; bars: Wilson's 95% interval.")
    elif counts[-1] == 1:
        sentences.append(f"A single run each, so there are no {band}.")
    else:
        sentences.append(f"Mean of n = {runs} runs; {band}: ± sample standard deviation.")
    read = [result for result in measured if not result.is_rate]
    over_epochs = figure.x == EPOCH_AXIS
    protocols = unique(describe_head(r.head) if over_epochs else describe_protocol(r.head, r.epoch) for r in read)
    sentences += [f"Test images; {'; '.join(protocols)}."] if protocols else []
    if report.paired and figure.x != EPOCH_AXIS:
        sentences.append("Hollow: the paper's numbers.")
    for change in unique(", ".join(result.cell.changed) for result in measured if result.cell.changed):
        sentences.append(f"Changed settings: {change}.")
    return " ".join(sentences)


def as_numbers(values: Iterable[Any]) -> Numbers:
    """Coordinates of a series from any numbers."""
    return tuple(float(value) for value in values)

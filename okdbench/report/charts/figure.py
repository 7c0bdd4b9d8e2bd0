"""The figure that a table's recipe asks for, in the paper's form."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from okdbench.recipe.axes import DEFAULT_READING, READING
from okdbench.recipe.layout import EPOCH_AXIS, Figure
from okdbench.report.charts import Chart, ChartKind, Plot, Series, in_rows
from okdbench.report.charts.base import (
    change_sentences,
    curves_of,
    protocol_sentences,
    runs_text,
    spread_sentence,
    value_label,
)
from okdbench.report.model import MeasuredTable, unique
from okdbench.results.cells import CellResult


def chart(report: MeasuredTable) -> Chart | None:
    """Return the figure that a table's recipe asks for; None if it asks for none or nothing is measured yet."""
    figure = report.plan.recipe.figure
    if figure is None or report.choice == "all" or not any(result.values for result in report.cells):
        return None
    if figure.x == EPOCH_AXIS:
        rows = _over_epochs(report, figure)
    else:
        plots = _over_an_axis(report, figure)
        rows = in_rows(plots, 1 if any(plot.categories for plot in plots) else 2)
    return Chart(report.plan.recipe.title, rows, _note(report, figure))


def _over_epochs(report: MeasuredTable, figure: Figure) -> tuple[tuple[Plot, ...], ...]:
    """Chart the accuracy after every epoch, and below it the paired difference to the reference line, if any."""
    levels, apart = [], []
    all_readings = READING in (figure.lines, *(figure.panels or ()))
    for title, results in _panels(report, figure):
        curves = {
            _line(report, figure, result): dict(zip(result.seeds, map(np.array, result.curves), strict=True))
            for result in results
            if result.curves and (all_readings or result.cell.reading == DEFAULT_READING)
        }
        levels.append(Plot(title, "Epoch", value_label(report.cells), curves_of(curves), dense=True))
        if figure.reference is not None:
            name = report.label(figure.reference)
            reference = curves.get(name, {})
            pairs = {
                line: {seed: run - reference[seed] for seed, run in runs.items() if seed in reference}
                for line, runs in curves.items()
            }
            apart.append(Plot("", "Epoch", f"Difference to {name} (points)", curves_of(pairs), dense=True))
    compared = any(plot.series for plot in apart)
    return (tuple(levels), tuple(apart)) if compared else (tuple(levels),)


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
        plots.append(Plot(title, x_label, value_label(report.cells), shown, categories, bars=figure.bars))
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


def _note(report: MeasuredTable, figure: Figure) -> str:
    """Return what points, bands and bars are, and what keeps them from being the recipe's own."""
    measured = [result for result in report.cells if result.values]
    over_epochs = figure.x == EPOCH_AXIS
    if any(result.is_rate for result in measured):
        runs = runs_text(measured)
        sentences = [f"Share of n = {runs} runs that ended collapsed; bars: Wilson's 95% interval."]
    else:
        sentences = [spread_sentence(measured, "bands" if over_epochs else "error bars" if figure.bars else "bars")]
    sentences += protocol_sentences(measured, over_epochs)
    if report.paired and not over_epochs:
        sentences.append("Hollow: the paper's numbers.")
    if figure.bars:
        sentences.append("The axis does not start at 0.")
    return " ".join([*sentences, *change_sentences(measured)])


CHART = ChartKind("figure", "the recipe's own figure", chart, place=0)

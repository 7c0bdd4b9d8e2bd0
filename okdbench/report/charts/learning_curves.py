"""Accuracy after every epoch, for every table: a panel for each data set and network, a line for each method."""

from collections.abc import Iterator

import numpy as np

from okdbench.config import MultistepSchedule
from okdbench.report.charts import Chart, ChartKind, Numbers, Plot, as_numbers, in_rows
from okdbench.report.charts.base import (
    PLACE,
    Labels,
    by_panel,
    change_sentences,
    curves_of,
    protocol_sentences,
    recipe_reading,
    spread_sentence,
    value_label,
)
from okdbench.report.model import MeasuredTable, unique
from okdbench.results.cells import CellResult

LOOKS = (6, 0, 1, 2, 3, 4, 5, 7)
"""The looks of a crowded panel's lines: the first one, which all panels have, is black."""
LINES = len(LOOKS)
"""The most lines in a panel: more of them are divided over several panels, which all have the first one."""
COLUMNS = 3
LONG = 50
"""The fewest epochs for which a panel starts at the accuracy after a tenth of them, to show the differences."""


def _chart(report: MeasuredTable) -> Chart | None:
    measured = [each for each in recipe_reading(report.cells) if each.curves and not each.is_rate]
    if not measured:
        return None
    labels = Labels.apart(report, measured, without=PLACE)
    looks = {name: index for index, name in enumerate(unique(map(labels.of, measured)))}
    crowded = len(looks) > LINES
    plots = [
        plot
        for title, results in by_panel(report, measured).items()
        for part in _parts(results)
        for plot in [_plot(title, part, labels, looks, crowded)]
    ]
    sentences = [spread_sentence(measured, "bands"), *protocol_sentences(measured, over_epochs=True)]
    sentences += ["Dotted: the learning rate drops."] if any(plot.drops for plot in plots) else []
    if any(plot.floor is not None for plot in plots):
        sentences.append("Panels start at the lowest accuracy after a tenth of the epochs.")
    sentences += change_sentences(measured)
    return Chart(
        f"{report.plan.recipe.title}: learning curves",
        in_rows(plots, min(len(plots), 2 if crowded else COLUMNS)),
        " ".join(sentences),
    )


def _parts(results: list[CellResult]) -> Iterator[list[CellResult]]:
    """Divide the lines of a crowded panel as evenly as possible, with the first one in every part."""
    if len(results) <= LINES:
        yield results
        return
    first, rest = results[0], results[1:]
    number = -(-len(rest) // (LINES - 1))
    for part in np.array_split(np.arange(len(rest)), number):
        yield [first, *(rest[index] for index in part)]


def _plot(title: str, results: list[CellResult], labels: Labels, looks: dict[str, int], crowded: bool) -> Plot:
    """One panel; in a crowded figure its lines are told apart within the panel, by a legend of its own."""
    lines = {labels.of(r): dict(zip(r.seeds, map(np.array, r.curves), strict=True)) for r in results}
    series = curves_of(lines, dict(zip(lines, LOOKS, strict=False)) if crowded else looks)
    values = [value for each in series if len(each.y) >= LONG for value in each.y[len(each.y) // 10 :]]
    floor = min(values) if values else None
    return Plot(
        title, "Epoch", value_label(results), series, dense=True, drops=_drops(results), floor=floor, legend=crowded
    )


def _drops(results: list[CellResult]) -> Numbers:
    """Return the epochs, counted from 1, after which the learning rate drops."""
    schedules = [(run.config.training.schedule, run.config.epochs) for each in results for run in each.cell.runs]
    steps = [(s.milestones, epochs) for s, epochs in schedules if isinstance(s, MultistepSchedule)]
    return as_numbers(sorted({step for milestones, epochs in steps for step in milestones if step < epochs}))


CHART = ChartKind("learning-curves", "accuracy after every epoch", _chart, place=3)

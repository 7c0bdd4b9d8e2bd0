"""Accuracy against the arithmetic of training, and against the hours of the fastest run."""

from collections.abc import Callable

from okdbench.plan.cost import run_cost
from okdbench.report.charts import Chart, ChartKind, Plot, Series
from okdbench.report.charts.base import (
    PLACE,
    Labels,
    by_panel,
    change_sentences,
    protocol_sentences,
    recipe_reading,
    spread_sentence,
    value_label,
)
from okdbench.report.model import MeasuredTable, unique
from okdbench.results.cells import CellResult
from okdbench.words import enumerated

Cost = Callable[[CellResult], float | None]


def _chart(report: MeasuredTable) -> Chart | None:
    measured = [each for each in recipe_reading(report.cells) if not each.is_rate]
    trained = unique(tuple(run.id for run in each.cell.runs) for each in measured)
    if len(trained) < 2:
        return None
    labels = Labels.apart(report, measured, without=PLACE)
    looks = {name: index for index, name in enumerate(unique(map(labels.of, measured)))}

    def step(result: CellResult) -> float | None:
        return run_cost(result.cell.runs[0].config.source).step if result.cell.runs else None

    panels = by_panel(report, measured).items()
    columns = list(panels)
    arithmetic = [_plot(t, r, labels, looks, step, "Arithmetic (plain network: 1)") for t, r in columns]
    hours = [_plot(t, r, labels, looks, _hours, "Hours of the fastest run") for t, r in columns]
    sentences = [spread_sentence(measured, "bars"), *protocol_sentences(measured)]
    sentences += ["Arithmetic: that of a training step of the networks.", *_computed(measured)]
    sentences += _not_counted(measured, labels)
    title = f"{report.plan.recipe.title}: accuracy and cost"
    rows = [
        pair
        for start in range(0, len(columns), 3)
        for pair in (tuple(arithmetic[start : start + 3]), tuple(hours[start : start + 3]))
    ]
    return Chart(title, tuple(rows), " ".join([*sentences, *change_sentences(measured)]))


def _hours(result: CellResult) -> float | None:
    """Return the least hours of a run: what other work on the machine delayed says nothing of the method."""
    return min(result.hours, default=None)


def _computed(results: list[CellResult]) -> list[str]:
    """Return a sentence on where the hours were measured."""
    devices = unique(how for each in results for _, how in each.computed if how)
    return [f"Hours on: {'; '.join(devices)}."] if devices else []


def _not_counted(results: list[CellResult], labels: Labels) -> list[str]:
    """Return a sentence on the methods whose teachers are trained first."""
    taught = unique(labels.of(each) for each in results if each.cell.runs and each.cell.runs[0].config.source.needs)
    return [f"Not counted: training the teacher of {enumerated(taught)}."] if taught else []


def _plot(
    title: str, results: list[CellResult], labels: Labels, looks: dict[str, int], cost: Cost, x_label: str
) -> Plot:
    series = []
    for each in results:
        place, mean, std = cost(each), each.summary.mean, each.summary.std or 0.0
        if place is not None and mean is not None:
            name = labels.of(each)
            series.append(Series(name, (place,), (mean,), (mean - std,), (mean + std,), look=looks[name]))
    return Plot(title, x_label, value_label(results), tuple(series))


CHART = ChartKind("accuracy-cost", "accuracy against arithmetic and hours", _chart, place=4)

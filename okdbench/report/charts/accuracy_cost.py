"""Accuracy against the arithmetic of training, and against the hours of the fastest run."""

from collections import Counter
from collections.abc import Callable
from functools import partial

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
    how = _shared(measured)
    hours = [
        _plot(t, r, labels, looks, partial(_hours, how), "Hours of the fastest run")
        for t, r in columns
        if how is not None
    ]
    sentences = [spread_sentence(measured, "bars"), *protocol_sentences(measured)]
    sentences += ["Arithmetic: that of a training step of the networks.", _where(how)]
    sentences += _not_counted(measured, labels)
    title = f"{report.plan.recipe.title}: accuracy and cost"
    rows = [
        pair
        for start in range(0, len(columns), 3)
        for pair in (tuple(arithmetic[start : start + 3]), tuple(hours[start : start + 3]))
        if pair
    ]
    return Chart(title, tuple(rows), " ".join(filter(None, [*sentences, *change_sentences(measured)])))


def _shared(results: list[CellResult]) -> str | None:
    """Return how most runs were computed, of the ways that all cells have; None without one.

    Hours of different devices, or numbers of threads, do not compare methods.
    """
    runs = Counter(how for each in results for _, how in each.computed)
    shared = set.intersection(*({how for _, how in each.computed} for each in results))
    return max(sorted(shared), key=runs.__getitem__, default=None)


def _where(how: str | None) -> str:
    """Return where the hours were measured, or why there are none; "" where the records do not say."""
    if how is None:
        return "Hours are not drawn: the methods were not all trained on one device with as many threads."
    return f"Hours on: {how}." if how else ""


def _hours(how: str, result: CellResult) -> float | None:
    """Return the least hours of a run computed so: what other work on the machine delayed tells nothing."""
    each = zip(result.hours, result.computed, strict=True)
    return min((hours for hours, (_, found) in each if found == how), default=None)


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

"""Accuracy against the arithmetic of training, and against its hours where these compare methods."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from okdbench.plan.cost import run_cost
from okdbench.plan.measured import hours, speeds
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
    timed = _hours(report, measured)
    over_hours = [_plot(t, r, labels, looks, timed.of, timed.label) for t, r in columns if timed]
    sentences = [spread_sentence(measured, "bars"), *protocol_sentences(measured)]
    sentences += ["Arithmetic: that of a training step of the networks.", _where(timed)]
    sentences += _not_counted(measured, labels)
    title = f"{report.plan.recipe.title}: accuracy and cost"
    rows = [
        pair
        for start in range(0, len(columns), 3)
        for pair in (tuple(arithmetic[start : start + 3]), tuple(over_hours[start : start + 3]))
        if pair
    ]
    return Chart(title, tuple(rows), " ".join(filter(None, [*sentences, *change_sentences(measured)])))


@dataclass(frozen=True)
class _Hours:
    """The hours that compare methods: how they are called on the axis, where they are from, and each cell's."""

    label: str
    where: str
    of: Cost


def _hours(report: MeasuredTable, results: list[CellResult]) -> _Hours | None:
    """Return hours by the speeds of `okdbench bench` on one device, else of runs computed in one way; None without."""
    for device, each in speeds(report.results).items():
        timed = {
            result.cell.runs[0].id: hours(run_cost(result.cell.runs[0].config.source), each)
            for result in results
            if result.cell.runs
        }
        if all(found.basis == "measured" for found in timed.values()):
            told = {run: found.hours for run, found in timed.items()}
            return _Hours("Hours of a run, by its speed", f"measured on {device}", partial(_by_speed, told))
    how = _shared(results)
    return None if how is None else _Hours("Hours of the fastest run", how and f"on {how}", partial(_fastest, how))


def _shared(results: list[CellResult]) -> str | None:
    """Return how most runs were computed, of the ways that all cells have; None without one.

    Hours of different devices, or numbers of threads, do not compare methods.
    """
    runs = Counter(how for each in results for _, how in each.computed)
    shared = set.intersection(*({how for _, how in each.computed} for each in results))
    return max(sorted(shared), key=runs.__getitem__, default=None)


def _by_speed(told: Mapping[str, float], result: CellResult) -> float | None:
    return told[result.cell.runs[0].id] if result.cell.runs else None


def _fastest(how: str, result: CellResult) -> float | None:
    """Return the least hours of a run computed so: what other work on the machine delayed tells nothing."""
    each = zip(result.hours, result.computed, strict=True)
    return min((taken for taken, (_, found) in each if found == how), default=None)


def _where(timed: _Hours | None) -> str:
    """Return where the hours are from, or why there are none; "" where the records do not say."""
    if timed is None:
        return "Hours are not drawn: the methods were not all trained on one device with as many threads."
    return f"Hours {timed.where}." if timed.where else ""


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

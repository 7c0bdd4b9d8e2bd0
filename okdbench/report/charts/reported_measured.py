"""The paper's numbers against ours: a point with its interval for each cell, and the line where both are equal."""

from okdbench.report.charts import Chart, ChartKind, Plot, Series, in_rows
from okdbench.report.charts.base import Labels, protocol_sentences, spread_sentence, value_label
from okdbench.report.model import MeasuredTable
from okdbench.results.cells import CellResult


def _chart(report: MeasuredTable) -> Chart | None:
    compared = [each for each in report.cells if each.comparison and each.cell.reported]
    if not compared:
        return None
    panels: dict[str, list[CellResult]] = {}
    for each in compared:
        panels.setdefault(report.label(each.cell.dataset), []).append(each)
    labels = Labels.apart(report, compared, without=("dataset", "network"))
    plots = [_plot(report, title, results, labels) for title, results in panels.items()]
    margin = report.plan.recipe.margin
    sentences = [
        spread_sentence(compared, "bars", "95% t-interval"),
        *protocol_sentences(compared),
        f"On the line ours and the paper's are equal; shaded: within {margin:g} points.",
    ]
    title = f"{report.plan.recipe.title}: reported and measured"
    return Chart(title, in_rows(plots, min(len(plots), 2)), " ".join(sentences))


def _plot(report: MeasuredTable, title: str, results: list[CellResult], labels: Labels) -> Plot:
    groups: dict[str, list[CellResult]] = {}
    for each in results:
        groups.setdefault(labels.of(each), []).append(each)
    series = tuple(_series(name, members) for name, members in groups.items())
    what = value_label(results)
    return Plot(title, f"Paper: {what}", f"Measured: {what}", series, identity=True, margin=report.plan.recipe.margin)


def _series(name: str, results: list[CellResult]) -> Series:
    rows = [
        (reported.mean, mean, *(each.summary.ci95 or (mean, mean)))
        for each in results
        if (reported := each.cell.reported) and (mean := each.summary.mean) is not None
    ]
    x, y, low, high = (tuple(row[i] for row in rows) for i in range(4))
    return Series(name, x, y, low, high)


CHART = ChartKind("reported-measured", "the paper's numbers against ours", _chart, place=1)

"""The difference of every cell to the paper, with its interval, the recipe's margin and the verdict."""

from okdbench.report.charts import Chart, ChartKind, Plot, Series, in_rows
from okdbench.report.charts.base import Labels, protocol_sentences
from okdbench.report.legend import MARKS
from okdbench.report.model import MeasuredTable
from okdbench.results.cells import CellResult, Verdict
from okdbench.results.stats import difference_interval

LOOKS: dict[Verdict, int] = {"reproduced": 2, "inconclusive": 4, "higher": 0, "lower": 1}
"""The colours and markers of the verdicts; all the others have the last one."""
LONG = 24
"""More rows than these stand in two columns of panels."""


def _chart(report: MeasuredTable) -> Chart | None:
    compared = [each for each in report.cells if each.comparison and each.cell.reported]
    if not compared:
        return None
    axis = report.plan.recipe.table.panels or "dataset"
    panels: dict[str, list[CellResult]] = {}
    for each in compared:
        panels.setdefault(report.label(report.value(each.cell, axis)), []).append(each)
    labels = Labels.apart(report, compared, without=(axis,))
    plots = [_plot(report, title, results, labels) for title, results in panels.items()]
    margin = report.plan.recipe.margin
    sentences = [
        "Ours minus the paper's, in points; bars: 95% interval of the difference (none for a single run).",
        f"Shaded: within {margin:g} points.",
        *protocol_sentences(compared),
    ]
    title = f"{report.plan.recipe.title}: difference to the paper"
    return Chart(title, in_rows(plots, 2 if len(compared) > LONG else 1), " ".join(sentences))


def _plot(report: MeasuredTable, title: str, results: list[CellResult], labels: Labels) -> Plot:
    verdicts: dict[Verdict, list[int]] = {}
    for row, each in enumerate(results):
        verdicts.setdefault(each.verdict, []).append(row)
    series = tuple(_series(name, rows, results) for name, rows in verdicts.items())
    names = tuple(labels.of(each) or title for each in results)
    remarks = tuple(MARKS.get(each.verdict, "") for each in results)
    margin = report.plan.recipe.margin
    what = "Difference (points)"
    return Plot(title, "", what, series, names, zero=True, margin=margin, remarks=remarks)


def _series(verdict: Verdict, rows: list[int], results: list[CellResult]) -> Series:
    points = []
    for row in rows:
        reported, compared = results[row].cell.reported, results[row].comparison
        assert reported and compared  # only such cells come here
        interval = difference_interval(results[row].values, reported.mean, reported.std, reported.n)
        low, high = interval or (compared.difference, compared.difference)
        points.append((float(row), compared.difference, low, high))
    x, y, lows, highs = (tuple(point[i] for point in points) for i in range(4))
    name = f"{MARKS.get(verdict, '')} {verdict}".strip()
    return Series(name, x, y, lows, highs, look=LOOKS.get(verdict, 6))


CHART = ChartKind("forest", "difference to the paper, cell by cell", _chart, place=2)

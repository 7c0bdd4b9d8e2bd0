"""Critical-difference diagram: the methods by their average rank; overlapping intervals are no difference."""

from okdbench.report.charts import Chart, ChartKind, Plot, Series, as_numbers
from okdbench.report.charts.base import change_sentences
from okdbench.report.model import MeasuredTable, unique
from okdbench.results.ranks import rank_methods


def _chart(report: MeasuredTable) -> Chart | None:
    ranks = rank_methods(report.cells)
    if ranks is None:
        return None
    axes = unique(axis for cell in ranks.cells for axis in ("method", *dict(cell.settings)))
    names = tuple(
        ", ".join(report.label(value) for axis in axes if (value := cell.value(axis, False)) is not None)
        for cell in ranks.cells
    )
    half, last = ranks.critical_difference / 2, float(len(ranks.ranks))
    series = Series(
        "",
        as_numbers(range(len(ranks.ranks))),
        ranks.ranks,
        tuple(max(rank - half, 1.0) for rank in ranks.ranks),
        tuple(min(rank + half, last) for rank in ranks.ranks),
    )
    note = (
        f"1 is best; mean over {ranks.blocks} {ranks.unit}. Methods whose bars overlap differ by less than Nemenyi's "
        f"critical difference, {ranks.critical_difference:.2f} at 5%, which is not significant; bars end at the best "
        f"and the worst possible rank. Friedman's test that all are equal: p = {ranks.p_value:.3g}."
    )
    remarks = tuple(f"{rank:.2f}" for rank in ranks.ranks)
    plot = Plot("", "", "Average rank", (series,), names, remarks=remarks)
    title = f"{report.plan.recipe.title}: average ranks"
    return Chart(title, ((plot,),), " ".join([note, *change_sentences(report.cells)]))


CHART = ChartKind("ranks", "average ranks with the critical difference", _chart, place=5)

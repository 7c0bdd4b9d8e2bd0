"""Critical-difference diagram: the methods by their average rank; overlapping intervals are no difference."""

from okdbench.report.charts import Chart, ChartKind, Plot, Series, as_numbers
from okdbench.report.charts.base import change_sentences, protocol_sentences, recipe_reading
from okdbench.report.model import MeasuredTable, unique
from okdbench.results.ranks import rank_methods


def _chart(report: MeasuredTable) -> Chart | None:
    measured = recipe_reading(report.cells)
    ranked = rank_methods(measured)
    if not ranked:
        return None
    [ranks] = ranked
    axes = unique(axis for cell, _ in ranks.methods for axis in ("method", *dict(cell.settings)))
    names = tuple(
        ", ".join(report.label(value) for axis in axes if (value := cell.value(axis)) is not None)
        for cell, _ in ranks.methods
    )
    places, half = as_numbers(rank for _, rank in ranks.methods), ranks.critical_difference / 2
    series = Series(
        "",
        as_numbers(range(len(places))),
        places,
        tuple(max(rank - half, 1.0) for rank in places),
        tuple(min(rank + half, float(len(places))) for rank in places),
    )
    note = (
        f"1 is best; mean over {ranks.blocks} {ranks.unit}. Methods whose bars overlap differ by less than Nemenyi's "
        f"critical difference, {ranks.critical_difference:.2f} at 5%, which is not significant; bars end at the best "
        f"and the worst possible rank. Friedman's test that all are equal: p = {ranks.p_value:.3g}."
    )
    remarks = tuple(f"{rank:.2f}" for rank in places)
    plot = Plot("", "", "Average rank", (series,), names, remarks=remarks)
    title = f"{report.plan.recipe.title}: average ranks"
    return Chart(title, ((plot,),), " ".join([note, *protocol_sentences(measured), *change_sentences(measured)]))


CHART = ChartKind("ranks", "average ranks with the critical difference", _chart, place=5)

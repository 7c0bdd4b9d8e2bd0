"""How many runs ended without a usable network, cell by cell, wherever any did."""

from okdbench.report.charts import Chart, ChartKind, Plot
from okdbench.report.charts.base import Labels, change_sentences, series_of
from okdbench.report.model import MeasuredTable
from okdbench.results.cells import CellResult
from okdbench.results.stats import proportion
from okdbench.runs.records import State


def _chart(report: MeasuredTable) -> Chart | None:
    ended: dict[tuple[str, ...], CellResult] = {}
    for each in report.cells:
        if _ended(each):
            ended.setdefault(tuple(run.id for run in each.cell.runs), each)  # once, however often it is read
    diverged = [each for each in ended.values() if each.diverged]
    if not diverged:
        return None
    shares = [proportion(each.diverged, _ended(each)) for each in diverged]
    series = series_of("", shares)
    labels = Labels.apart(report, list(ended.values()), without=("reading",))
    names = tuple(labels.of(each) or str(each.cell.key) for each in diverged)
    remarks = tuple(f"{each.diverged} of {_ended(each)}" for each in diverged)
    others = len(ended) - len(diverged)
    sentences = [
        "Share of the runs that ended whose logits collapsed or had a number that is not finite; bars: Wilson's 95% "
        "interval.",
        *([f"In {others} other cells no run did."] if others else []),
        *change_sentences(diverged),
    ]
    plot = Plot("", "", "Diverged runs (%)", (series,), names, remarks=remarks)
    return Chart(f"{report.plan.recipe.title}: runs that diverged", ((plot,),), " ".join(sentences))


def _ended(result: CellResult) -> int:
    """Return how many runs ended, in whatever way."""
    return result.states.count(State.finished) + result.diverged


CHART = ChartKind("collapse", "runs that diverged", _chart, place=6)

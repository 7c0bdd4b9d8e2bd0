"""Two methods against each other: a table, sentences in plain words, and a figure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from okdbench.plan.table import Cell
from okdbench.report import numbers
from okdbench.report.charts import Chart, Plot, Series
from okdbench.report.charts.base import change_sentences, protocol_sentences, series_of
from okdbench.report.model import Appendix, Document, Listing, MeasuredTable
from okdbench.report.numbers import DASH
from okdbench.results.contest import Bout, Contest
from okdbench.results.stats import Paired, summarise

ALL = "all"


@dataclass(frozen=True)
class ContestReport:
    """See `okdbench.report.formats.Content`; ``rerun`` is the command that adds seeds, without them."""

    schema: ClassVar[str] = "okdbench.compare/1"
    contest: Contest
    rerun: str

    @property
    def _table(self) -> MeasuredTable:
        return MeasuredTable(self.contest.plan, "recipe", tuple(each.first for each in self.contest.bouts))

    @property
    def _names(self) -> tuple[str, str]:
        first, second = self.contest.names
        return self._table.label(first), self._table.label(second)

    def documents(self) -> list[Document]:
        """Return one document: a row for each data set and network, and what it says in words."""
        first, second = self._names
        title = f"{first} against {second}: {self.contest.plan.recipe.title}"
        headings = ("Data set", "Network", "n", first, second, "diff.", "95% interval", "p", "Holm p", "sign-flip p")
        rows = [_row(self._place(each.first.cell), each, each.paired) for each in self.contest.bouts]
        if self.contest.overall:
            rows.append(_row((ALL, ""), None, self.contest.overall))
        listing = Listing("Paired by seed", headings, tuple(rows), 8)
        return [Document(title, "", title, (listing,), (), tuple(self._legend()))]

    def appendices(self) -> list[Appendix]:
        """Return an empty one."""
        return [Appendix()]

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary for each data set and network: accuracies in percent over the seeds that both have,
        differences in points.
        """
        return [self._facts(each) for each in self.contest.bouts]

    def facts(self) -> dict[str, Any]:
        """Recipe, the two methods, ``cells`` (the rows), ``overall`` (None for a single cell), and ``sentences``."""
        overall = self.contest.overall
        return {
            "recipe": self.contest.plan.recipe.name,
            "first": self.contest.names[0],
            "second": self.contest.names[1],
            "cells": self.rows(),
            "overall": asdict(overall) if overall else None,
            "sentences": self.sentences(),
        }

    def sentences(self) -> list[str]:
        """Return for each data set and network which method is better, and whether that is decided."""
        return [self._sentence(each) for each in self.contest.bouts]

    def chart(self) -> Chart:
        """Return the mean difference with its interval, and below it the seeds' own, for each data set and network."""
        first, second = self._names
        bouts = [each for each in self.contest.bouts if each.paired]
        series = series_of("mean, 95% interval", [each.paired.summary for each in bouts if each.paired])
        seeds = [(row + 0.22, value) for row, each in enumerate(bouts) for value in each.differences]
        dots = Series("seeds", tuple(x for x, _ in seeds), tuple(y for _, y in seeds), look=7)
        names = tuple(", ".join(self._place(each.first.cell)) for each in bouts)
        remarks = tuple("decided" if each.decided else "open" for each in bouts)
        what = f"{first} minus {second} (points)"
        plot = Plot("", "", what, (series, dots), names, zero=True, remarks=remarks)
        return Chart(f"{first} against {second}", ((plot,),), " ".join(["Paired by seed.", *self._notes()]))

    def _place(self, cell: Cell) -> tuple[str, str]:
        return self._table.label(cell.dataset), self._table.label(cell.network)

    def _notes(self) -> list[str]:
        cells = [each for bout in self.contest.bouts for each in (bout.first, bout.second)]
        return [*protocol_sentences(cells), *change_sentences(cells)]

    def _legend(self) -> Sequence[str]:
        tests = (
            "Accuracies are over the seeds that both have. diff.: mean over them of the difference, in points; the "
            "same seed means the same initial weights, batches and crops. p: paired t-test; Holm p: corrected for all "
            "rows, but not for other methods "
            "that one could compare; sign-flip p: exact test without an assumed distribution."
        )
        everything = "all: the mean over all rows, seed by seed." if self.contest.overall else ""
        return [*self._said(), *filter(None, [everything]), tests, *self._notes()]

    def _said(self) -> list[str]:
        """Return the sentences, those that say the same of several places as one."""
        places: dict[str, list[str]] = {}
        for sentence in self.sentences():
            place, _, said = sentence.partition(": ")
            places.setdefault(said, []).append(place)
        return [f"{', '.join(found)}: {said}" for said, found in places.items()]

    def _sentence(self, bout: Bout) -> str:
        first, second = self._names
        place = " ".join(self._place(bout.first.cell)[::-1])
        paired = bout.paired
        if paired is None or paired.summary.mean is None:
            return f"{place}: no seed of {first} and {second} is finished in both; run: {self.rerun}"
        mean, n = paired.summary.mean, paired.summary.n
        side = "above" if mean >= 0 else "below"
        said = f"{place}: {first} is {abs(mean):.2f} points {side} {second} (n = {n}"
        if n == 1:
            return f"{said}); a single seed decides nothing{self._more(bout, 1)}"
        if paired.exact_p_value is None:
            return f"{said}); one is the best on the test set of what the other reads, so there is nothing to test."
        if paired.p_value is None:
            exact = f"sign-flip p = {numbers.p_value(paired.exact_p_value)}"
            return f"{said}, {exact}); the seeds differ by the same, so a t-test has no p{self._more(bout, 1)}"
        said += f", 95% interval {numbers.between(paired.summary, '{:+.2f} to {:+.2f}')}, "
        tests = sum(each.paired is not None and each.paired.p_value is not None for each in self.contest.bouts)
        corrected = f", corrected for {tests} tests" if tests > 1 else ", of this pair alone"
        p_value = paired.p_value if paired.holm_p_value is None else paired.holm_p_value
        said += f"p {numbers.equality(p_value)}{corrected})"
        if bout.decided:
            return f"{said}: decided."
        needed = paired.seeds_needed
        if needed is None:
            return f"{said}: not decided; no practicable number of seeds would decide it."
        if needed <= n:
            return f"{said}: not decided once corrected{self._more(bout, 1)}"
        alone = ", tested alone" if tests > 1 else ""
        said += f": not decided; a difference of this size needs about n = {needed} seeds{alone}"
        return said + self._more(bout, needed - n)

    def _more(self, bout: Bout, wanted: int) -> str:
        """Return how to train that many more seeds: with the recipe's own, or with a recipe that has more."""
        recipe = self.contest.plan.recipe
        if self.contest.plan.selection.seeds:
            return "; leave out -s to compare all seeds that are finished."
        finished = set(bout.first.seeds) & set(bout.second.seeds)
        left = [seed for seed in recipe.seeds if seed not in finished]
        if len(left) < wanted:
            return f", and {recipe.name} has {len(recipe.seeds)}; a recipe that extends it can have more."
        return f"; run: {self.rerun} {' '.join(f'-s {seed}' for seed in left[:wanted])}"

    def _facts(self, bout: Bout) -> dict[str, Any]:
        paired = bout.paired
        summary = paired.summary if paired else None
        low, high = (summary.ci95 if summary else None) or (None, None)
        first, second = map(summarise, bout.sides)
        return {
            "recipe": self.contest.plan.recipe.name,
            "dataset": bout.first.cell.dataset,
            "network": bout.first.cell.network,
            "first": self.contest.names[0],
            "second": self.contest.names[1],
            "first_mean": first.mean,
            "second_mean": second.mean,
            "n": summary.n if summary else 0,
            "difference": summary.mean if summary else None,
            "ci95_low": low,
            "ci95_high": high,
            "p_value": paired.p_value if paired else None,
            "holm_p_value": paired.holm_p_value if paired else None,
            "sign_flip_p_value": paired.exact_p_value if paired else None,
            "seeds_needed": paired.seeds_needed if paired else None,
            "decided": bout.decided,
        }


def _row(place: tuple[str, str], bout: Bout | None, paired: Paired | None) -> tuple[str, ...]:
    means = tuple(numbers.number(each.mean, each.std) for each in map(summarise, bout.sides)) if bout else ("", "")
    if paired is None or paired.summary.mean is None:
        return (*place, "0", *means, *[DASH] * 5)
    return (
        *place,
        str(paired.summary.n),
        *means,
        numbers.difference(paired.summary.mean),
        numbers.between(paired.summary, "{:+.2f} to {:+.2f}"),
        numbers.p_value(paired.p_value),
        numbers.p_value(paired.holm_p_value),
        numbers.p_value(paired.exact_p_value),
    )

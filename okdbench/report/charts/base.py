"""What the figures of a table share: how its cells are told apart, and sentences of their notes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from okdbench.recipe.axes import DEFAULT_READING
from okdbench.report.charts import Series, as_numbers
from okdbench.report.model import MeasuredTable, unique
from okdbench.results.cells import CellResult
from okdbench.results.protocol import Values, describe_head, describe_protocol
from okdbench.results.stats import Summary

PLACE = ("dataset", "network")
"""The axes whose values have a panel each; the others make the lines of a panel."""


class Labels(NamedTuple):
    """Names of cells by the axes on which they differ."""

    report: MeasuredTable
    axes: tuple[str, ...]

    @classmethod
    def apart(cls, report: MeasuredTable, cells: Sequence[CellResult], without: Iterable[str] = ()) -> "Labels":
        """Name by every axis on which the cells have several values, but for those ``without``."""
        axes = unique(axis for each in cells for axis in (*PLACE, "method", "reading", *dict(each.cell.settings)))
        separate = [axis for axis in axes if axis != "reading" or report.plan.recipe.table.separates_readings]
        several = [axis for axis in separate if len({report.value(each.cell, axis) for each in cells}) > 1]
        return cls(report, tuple(axis for axis in several if axis not in without))

    def of(self, result: CellResult) -> str:
        """Return the cell's name; "" where it need not be told apart."""
        values = [(axis, self.report.value(result.cell, axis)) for axis in self.axes]
        named = [
            f"{self.report.name(axis)} = {self.report.label(value)}" if "." in axis else self.report.label(value)
            for axis, value in values
            if value is not None
        ]
        return ", ".join(named)


def by_panel(report: MeasuredTable, results: Sequence[CellResult]) -> dict[str, list[CellResult]]:
    """Divide cells by data set and network, each part under its name."""
    panels: dict[str, list[CellResult]] = {}
    for result in results:
        title = ", ".join(report.label(report.value(result.cell, axis)) for axis in PLACE)
        panels.setdefault(title, []).append(result)
    return panels


def recipe_reading(results: Iterable[CellResult]) -> list[CellResult]:
    """Return the cells with a number, each run under the recipe's own reading only."""
    return [each for each in results if each.values and each.cell.reading == DEFAULT_READING]


def curves_of(lines: Mapping[str, Mapping[int, Values]], looks: Mapping[str, int] | None = None) -> tuple[Series, ...]:
    """Return the mean of each line's runs, [epochs] by seed, with one standard deviation to either side.

    Epochs count from 1.
    """
    series = []
    for name, by_seed in lines.items():
        if by_seed:
            length = min(map(len, by_seed.values()))
            runs = np.stack([run[:length] for run in by_seed.values()])
            mean, spread = runs.mean(axis=0), runs.std(axis=0, ddof=1) if len(runs) > 1 else None
            edges = ((), ()) if spread is None else (as_numbers(mean - spread), as_numbers(mean + spread))
            look = looks.get(name) if looks else None
            series.append(Series(name, as_numbers(range(1, length + 1)), as_numbers(mean), *edges, look=look))
    return tuple(series)


def series_of(name: str, summaries: Sequence[Summary]) -> Series:
    """Return the means in rows, with their 95% intervals where there are any."""
    means = tuple(each.mean or 0.0 for each in summaries)
    edges = [each.ci95 or (mean, mean) for each, mean in zip(summaries, means, strict=True)]
    low, high = (tuple(edge[side] for edge in edges) for side in (0, 1))
    return Series(name, as_numbers(range(len(means))), means, low, high)


def value_label(results: Iterable[CellResult]) -> str:
    """Return what the numbers of the cells are."""
    names = {"accuracy": "Top-1 accuracy (%)", "error": "Top-1 error (%)", "collapse rate": "Collapsed runs (%)"}
    return " / ".join(unique(names[result.metric] for result in results))


def runs_text(results: Sequence[CellResult]) -> str:
    """Return how many runs make a number: "3", or "2 to 3"."""
    counts = sorted({len(result.values) for result in results})
    return " to ".join(map(str, unique([counts[0], counts[-1]])))


def spread_sentence(results: Sequence[CellResult], drawn: str, what: str = "± sample standard deviation") -> str:
    """Return the sentence on numbers of runs and on what their ``drawn`` (bands, bars) are."""
    if max(len(result.values) for result in results) == 1:
        return f"A single run each, so there are no {drawn}."
    return f"Mean of n = {runs_text(results)} runs; {drawn}: {what}."


def protocol_sentences(results: Iterable[CellResult], over_epochs: bool = False) -> list[str]:
    """Return the sentence on the heads, and without ``over_epochs`` the epochs, that make the numbers."""
    read = [result for result in results if not result.is_rate]
    said = unique(describe_head(r.head) if over_epochs else describe_protocol(r.head, r.epoch) for r in read)
    return [f"Test images; {'; '.join(said)}."] if said else []


def change_sentences(results: Iterable[CellResult]) -> list[str]:
    """Return a sentence on changed settings: those of all the changed cells first, then the others'."""
    changed: list[Any] = unique(result.cell.changed for result in results if result.cell.changed)
    if not changed:
        return []
    common = [each for each in changed[0] if all(each in other for other in changed)]
    others = unique(each for every in changed for each in every if each not in common)
    some = f"in some cells: {', '.join(others)}" if others else ""
    return [f"Changed settings: {'; '.join(filter(None, [', '.join(common), some]))}."]

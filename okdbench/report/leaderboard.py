"""The leaderboard: a table for each data set, accuracy beside what it costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar

from okdbench import data, networks
from okdbench.errors import UsageError
from okdbench.report import numbers
from okdbench.report.model import Appendix, Document, Listing, unique
from okdbench.report.numbers import DASH
from okdbench.results.leaderboard import EpochChoice, Standing

CHANGED = "*"


class SortKey(StrEnum):
    """By what the rows of a table are sorted: the best first, the cheapest first, most seeds first, or by name."""

    accuracy = "accuracy"
    cost = "cost"
    hours = "hours"
    seeds = "seeds"
    method = "method"


@dataclass(frozen=True)
class Row:
    """A standing with its cost, which takes long to count."""

    standing: Standing
    cost: float | None


_ORDERS: dict[SortKey, Callable[[Row], Any]] = {
    SortKey.accuracy: lambda row: -(row.standing.summary.mean or 0.0),
    SortKey.cost: lambda row: (row.cost is None, row.cost),
    SortKey.hours: lambda row: row.standing.mean_hours,
    SortKey.seeds: lambda row: -len(row.standing.seeds),
    SortKey.method: lambda row: row.standing.name.casefold(),
}


@dataclass(frozen=True)
class Leaderboard:
    """See `okdbench.report.formats.Content`; ``damaged`` has a line for each run that could not be read."""

    schema: ClassVar[str] = "okdbench.leaderboard/1"
    standings: Sequence[Standing]
    epoch: EpochChoice
    sort: SortKey = SortKey.accuracy
    damaged: Sequence[str] = ()

    @cached_property
    def _rows(self) -> list[Row]:
        rows = sorted((Row(each, each.cost) for each in self.standings), key=_ORDERS[self.sort])
        datasets = unique(each.config.dataset for each in self.standings)
        return sorted(rows, key=lambda row: datasets.index(row.standing.config.dataset))

    def documents(self) -> list[Document]:
        """Return one document with a table for each data set."""
        by_dataset: dict[str, list[Row]] = {}
        for row in self._rows:
            by_dataset.setdefault(row.standing.config.dataset, []).append(row)
        tables = tuple(_table(dataset, rows) for dataset, rows in by_dataset.items())
        title = "Leaderboard of all finished runs"
        return [Document(title, "", title, tables, (), tuple(self._legend()))]

    def appendices(self) -> list[Appendix]:
        """Return an empty one."""
        return [Appendix()]

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary per row, accuracies in percent."""
        return [_facts(row, self.epoch) for row in self._rows]

    def facts(self) -> dict[str, Any]:
        """Return an object with a list ``rows``, how they are sorted, and the lines on damaged runs."""
        return {"sort": self.sort.value, "epoch": self.epoch, "rows": self.rows(), "damaged": list(self.damaged)}

    def _legend(self) -> list[str]:
        devices = unique(how for each in self.standings for how in each.computed)
        chosen = (
            "; that epoch is chosen by the same accuracy unless images are held out" if self.epoch == "best" else ""
        )
        lines = [
            f"Accuracy: top-1 on the test images in percent, of the head that the method deploys, {self.epoch} epoch"
            f"{chosen}; mean ± sample standard deviation over n seeds.",
            "Cost: arithmetic of a training step, meta steps included in proportion; the plain network's is 1.",
            "Hours: of a run, as it was measured; runs that shared a device with others took longer.",
        ]
        lines += [f"Computed on: {'; '.join(devices)}."] if devices else []
        if len({each.recipes for each in self.standings}) > 1:
            lines.append("Rows of different recipes may differ in training and protocol; compare rows of one recipe.")
        return lines


def _table(dataset: str, rows: list[Row]) -> Listing:
    """Return one data set's table; the part of the changed settings that all its changed rows share is its note."""
    changed = [row.standing.changed for row in rows if row.standing.changed]
    common = [each for each in changed[0] if all(each in other for other in changed)] if changed else []
    note = f"{CHANGED} changed settings: {', '.join(common)}." if common else ""
    listed = tuple(_cells(row, common) for row in rows)
    headings = ("Network", "Method", "Settings", "Recipe", "n", "Accuracy", "Cost", "Hours")
    used = [i for i, heading in enumerate(headings) if heading != "Settings" or any(row[i] for row in listed)]
    shown = tuple(tuple(row[i] for i in used) for row in listed)
    return Listing(dataset_title(dataset), tuple(headings[i] for i in used), shown, 4, note, keys=2)


def _cells(row: Row, common: list[str]) -> tuple[str, ...]:
    standing = row.standing
    summary = standing.summary
    own = [*standing.settings, *(each for each in standing.changed if each not in common)]
    mark = CHANGED if standing.changed and common else ""
    return (
        network_title(standing.config.network),
        standing.name + mark,
        ", ".join(own),
        ", ".join(standing.recipes),
        str(summary.n),
        numbers.number(summary.mean, summary.std),
        DASH if row.cost is None else f"{row.cost:.2f}",
        numbers.three_digits(standing.mean_hours),
    )


def _facts(row: Row, epoch: EpochChoice) -> dict[str, Any]:
    standing, summary = row.standing, row.standing.summary
    low, high = summary.ci95 or (None, None)
    return {
        "dataset": standing.config.dataset,
        "network": standing.config.network,
        "method": standing.config.method,
        "label": standing.label,
        "settings": list(standing.settings),
        "changed": list(standing.changed),
        "recipes": list(standing.recipes),
        "epochs": standing.config.epochs,
        "head": standing.head,
        "epoch": epoch,
        "n": summary.n,
        "seeds": list(standing.seeds),
        "values": list(standing.values),
        "mean": summary.mean,
        "std": summary.std,
        "ci95_low": low,
        "ci95_high": high,
        "cost": row.cost,
        "hours": standing.mean_hours,
        "computed": list(standing.computed),
        "runs": list(standing.runs),
    }


def dataset_title(name: str) -> str:
    """Return how a data set is printed; its own name where it is not known here."""
    try:
        return data.get(name).title or name
    except UsageError:
        return name


def network_title(name: str) -> str:
    """Return how a network, or a pair of them, is printed; its own name where it is not known here."""
    try:
        return " + ".join(each.title or each.name for each in networks.several(name))
    except UsageError:
        return name

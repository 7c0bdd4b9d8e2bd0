"""Two recipes' tables side by side, where they have the same data set, network and method."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from okdbench.errors import UsageError
from okdbench.kinds import AnyReport
from okdbench.report import numbers
from okdbench.report.model import Appendix, Document, Listing, MeasuredTable, unique
from okdbench.report.numbers import DASH
from okdbench.results.cells import CellResult
from okdbench.results.leaderboard import flat_settings
from okdbench.results.protocol import describe_protocol
from okdbench.words import count

Pair = tuple[CellResult, CellResult]


@dataclass(frozen=True)
class TwoTables:
    """The cells that two measured tables share; see `okdbench.report.formats.Content`."""

    schema: ClassVar[str] = "okdbench.tables/1"
    first: MeasuredTable
    second: MeasuredTable
    pairs: tuple[Pair, ...]

    @classmethod
    def of(cls, first: AnyReport, second: AnyReport) -> Self:
        """Return what two reports share; raise UsageError where that is nothing, or one of them has no table."""
        for each in (first, second):
            if not isinstance(each, MeasuredTable):
                raise UsageError(f"--compare: {each.plan.recipe.name} trains no networks and has no table of numbers")
        assert isinstance(first, MeasuredTable) and isinstance(second, MeasuredTable)
        theirs = {each.cell.key: each for each in second.cells}
        pairs = tuple((each, theirs[each.cell.key]) for each in first.cells if each.cell.key in theirs)
        if not pairs:
            names = [each.plan.recipe.name for each in (first, second)]
            raise UsageError(f"--compare: {names[0]} and {names[1]} share no cell: data set, network and method")
        return cls(first, second, pairs)

    def documents(self) -> list[Document]:
        """Return one document: a row for each shared cell, and where the settings differ."""
        names = [each.plan.recipe.name for each in (self.first, self.second)]
        headings = (
            "Data set",
            "Network",
            "Method",
            *(f"{name}, {what}" for name in names for what in ("ours", "paper")),
        )
        rows = tuple(
            (*(self.first.label(value) for value in one.cell.key[:3]), *_both(one), *_both(two))
            for one, two in self.pairs
        )
        title = f"{self.first.plan.recipe.title} | {self.second.plan.recipe.title}"
        note = f"In both tables: {count(len(rows), 'cell')}. ± and protocols are each recipe's own."
        listing = Listing("Shared cells", headings, rows, 4, note)
        return [Document(title, "", title, (listing,), (), tuple(self._legend()))]

    def appendices(self) -> list[Appendix]:
        """Return an empty one."""
        return [Appendix()]

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary for each shared cell."""
        return [
            {
                "dataset": one.cell.dataset,
                "network": one.cell.network,
                "method": one.cell.method,
                "reading": one.cell.reading,
                **_facts("first", one),
                **_facts("second", two),
                "differences": _differences(one, two),
            }
            for one, two in self.pairs
        ]

    def facts(self) -> dict[str, Any]:
        """Return the recipes' names, and the rows as ``cells``."""
        names = {"first": self.first.plan.recipe.name, "second": self.second.plan.recipe.name}
        return {**names, "cells": self.rows()}

    def _legend(self) -> Iterator[str]:
        """The settings in which the two differ, with the cells to which they apply."""
        groups: dict[tuple[str, ...], list[CellResult]] = {}
        for one, two in self.pairs:
            groups.setdefault(tuple(_differences(one, two)), []).append(one)
        for differences, cells in groups.items():
            where = ", ".join(unique(self.first.label(each.cell.method) for each in cells))
            if differences:
                yield f"{where}: {'; '.join(differences)}."
            else:
                yield f"{where}: the same settings and protocol in both."


def _both(result: CellResult) -> tuple[str, str]:
    reported = result.cell.reported
    return numbers.spread(result), numbers.number(reported.mean, reported.std) if reported else DASH


def _facts(side: str, result: CellResult) -> dict[str, Any]:
    reported = result.cell.reported
    return {
        f"{side}_mean": result.summary.mean,
        f"{side}_std": result.summary.std,
        f"{side}_n": result.summary.n,
        f"{side}_metric": result.metric,
        f"{side}_reported_mean": reported.mean if reported else None,
        f"{side}_reported_std": reported.std if reported else None,
    }


def _differences(one: CellResult, two: CellResult) -> list[str]:
    """Return what the second recipe sets otherwise than the first: ``training.epochs: 300 | 200``."""
    found = []
    if one.cell.runs and two.cell.runs:
        mine, theirs = (flat_settings(each.cell.runs[0].config) for each in (one, two))
        keys = unique([*mine, *theirs])
        found = [f"{key}: {mine.get(key)} | {theirs.get(key)}" for key in keys if mine.get(key) != theirs.get(key)]
    sides = {
        "trained network": (one.cell.trained_network, two.cell.trained_network),
        "metric": (one.metric, two.metric),
        "protocol": (describe_protocol(one.head, one.epoch), describe_protocol(two.head, two.epoch)),
        "seeds": tuple(str(len(each.cell.runs)) for each in (one, two)),
    }
    return [*found, *(f"{what}: {mine} | {theirs}" for what, (mine, theirs) in sides.items() if mine != theirs)]

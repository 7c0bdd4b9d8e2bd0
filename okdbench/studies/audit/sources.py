"""The same cell in several tables: columns equal to the digit, contradictions, other standard deviations, gains."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from statistics import mean

from okdbench.studies.audit.model import (
    HALF_DIGIT,
    AuditedTable,
    Check,
    Finding,
    Number,
    clusters,
    comma_separated,
    names,
)

COLUMN = 3
"""Fewest shared cells that make a column; fewer may agree by chance."""


def check_columns(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """Columns that equal those of another paper in at least half of the shared cells, and the cells that do not."""
    for later, earlier in _pairs(tables, same_paper=False):
        columns: dict[str, list[tuple[Number, Number]]] = {}
        for mine, theirs in later.shared(earlier):
            columns.setdefault(mine.cell.method, []).append((mine, theirs))
        equal = {
            method: pairs
            for method, pairs in columns.items()
            if len(pairs) >= COLUMN and 2 * sum(mine.equals(theirs) for mine, theirs in pairs) >= len(pairs)
        }
        pairs = [pair for column in equal.values() for pair in column]
        if not pairs:
            continue
        both = (later.name, earlier.name)
        means = [mine.equals(theirs) for mine, theirs in pairs]
        stds = [mine.same_std(theirs) for mine, theirs in pairs]
        identical = sum(mean and std for mean, std in zip(means, stds, strict=True))
        yield Finding(
            "columns",
            both,
            f"{' and '.join(both)}: {comma_separated(equal)}",
            f"{len(pairs)} in both",
            f"{sum(means)} means and {sum(stds)} standard deviations equal",
            f"{identical} of {len(pairs)} cells identical",
        )
        for mine, theirs in pairs:
            if not mine.equals(theirs):
                yield _difference("columns", mine, theirs)


def check_tables(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """Cells that a paper prints in two tables."""
    for first, second in _pairs(tables, same_paper=True):
        pairs = first.shared(second)
        if not pairs:
            continue
        equal = sum(mine.equals(theirs) for mine, theirs in pairs)
        both = (first.name, second.name)
        result = f"{equal} of {len(pairs)} means identical"
        yield Finding("tables", both, " and ".join(both), f"{len(pairs)} in both", "", result)
        for mine, theirs in pairs:
            if not mine.equals(theirs):
                yield _difference("tables", mine, theirs)


def check_stds(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """Cells with the same mean in several tables and different statements about its spread."""
    for group in clusters(number for table in tables for number in table.numbers):
        by_mean: list[list[Number]] = []
        for number in group:
            home = next((same for same in by_mean if number.equals(same[0])), None)
            by_mean.append([number]) if home is None else home.append(number)
        for same in by_mean:
            spreads: dict[str, list[str]] = {}
            for number in same:
                spread = _spread(number)
                if spread:
                    spreads.setdefault(spread, []).append(number.recipe.name)
            if len(spreads) > 1:
                printed = "; ".join(f"{spread} in {comma_separated(found)}" for spread, found in spreads.items())
                compared = f"{same[0].place}: {same[0].accuracy:.2f}"
                yield Finding("std", names(same), compared, printed, "", "same mean, other spread")


def check_twins(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """Different cells of a paper with the same mean and standard deviation on the same data set."""
    for paper in dict.fromkeys(table.paper for table in tables):
        numbers = [number for table in tables if table.paper == paper for number in table.numbers]
        for one, other in combinations(numbers, 2):
            same = one.cell.dataset == other.cell.dataset and one.equals(other) and one.same_std(other)
            if same and not one.comparable(other):
                places = " and ".join(f"{number.place} of {number.recipe.name}" for number in (one, other))
                yield Finding("twins", names((one, other)), places, f"{one.text} and {other.text}", "", "identical")


def check_sources(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """Cells for which papers differ by more than any standard deviation that they print, the widest range first."""
    found: list[tuple[float, Finding]] = []
    for group in clusters(number for table in tables for number in table.numbers):
        rising = sorted(group, key=lambda number: number.accuracy)
        spread = rising[-1].accuracy - rising[0].accuracy
        stds = [number.reported.std or 0.0 for number in group]
        papers = {number.recipe.source.paper for number in group if number.recipe.source}
        if len(papers) > 1 and spread > max(*stds, HALF_DIGIT):
            values: dict[str, list[Number]] = {}
            for number in rising:
                values.setdefault(f"{number.accuracy:.2f}", []).append(number)
            printed = ", ".join(f"{value} ({comma_separated(names(same))})" for value, same in values.items())
            place = group[0].place
            found.append((spread, Finding("sources", names(group), place, printed, "", f"range {spread:.2f}")))
    yield from (finding for _, finding in sorted(found, key=lambda item: -item[0]))


def check_gains(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """The gain of a paper's own method over another paper's, with the rival's numbers from this paper and from its own.

    Own is what no earlier paper prints, and of several such methods the one with the most numbers, at a tie the last.
    """
    papers: dict[str, list[AuditedTable]] = {}
    own: dict[str, str] = {}
    homes: dict[str, str] = {}
    for table in reversed(tables):
        papers.setdefault(table.paper, []).insert(0, table)
        for number in table.numbers:
            homes.setdefault(number.method, table.paper)
    for paper, its in papers.items():
        variants = {label for table in its for label in table.recipe.variants}
        printed = Counter(number.method for table in its for number in table.numbers)
        new = [method for method in printed if homes[method] == paper and method not in variants]
        if new:
            own[paper] = max(reversed(new), key=lambda method: printed[method])
    for paper, method in reversed(own.items()):
        for other, rival in reversed(own.items()):
            if other != paper:
                yield from _gains(method, papers[paper], rival, papers[other])


def _gains(
    method: str, tables: Sequence[AuditedTable], rival: str, others: Sequence[AuditedTable]
) -> Iterator[Finding]:
    """The gains of ``method`` over ``rival``, one finding per data set; a cell printed often counts as its plainest."""
    triples = [
        (own, here, there)
        for table in tables
        for other in others
        for here, there in table.shared(other)
        for own in table.numbers
        if here.method == rival and own.method == method and own.cell.key[:2] == here.cell.key[:2]
    ]
    rows: dict[str, dict[str, tuple[Number, Number, Number]]] = {}
    for triple in sorted(triples, key=lambda triple: sum(len(number.cell.settings) for number in triple)):
        rows.setdefault(triple[0].cell.dataset, {}).setdefault(triple[0].cell.network, triple)
    order = list(dict.fromkeys(number.cell.network for table in tables for number in table.numbers))
    for dataset, found in rows.items():
        row = dict(sorted(found.items(), key=lambda item: order.index(item[0])))
        owns, heres, theres = zip(*row.values(), strict=True)
        if all(here.equals(there) for here, there in zip(heres, theres, strict=True)):
            continue
        gains = [[own.accuracy - a.accuracy for own, a in zip(owns, side, strict=True)] for side in (heres, theres)]
        printed, computed = (
            f"{_signed(gain)} with {rival} of {comma_separated(names(side))}"
            for gain, side in zip(gains, (heres, theres), strict=True)
        )
        compared = f"{method} over {rival} on {dataset}: {comma_separated(row)}"
        result = f"mean gain {_signed([mean(gains[0])])} and {_signed([mean(gains[1])])}"
        yield Finding("gains", names((*heres, *theres)), compared, printed, computed, result)


def _pairs(tables: Sequence[AuditedTable], *, same_paper: bool) -> Iterator[tuple[AuditedTable, AuditedTable]]:
    """All pairs of tables of one paper, or of two."""
    return ((a, b) for a, b in combinations(tables, 2) if (a.paper == b.paper) == same_paper)


def _difference(check: Check, mine: Number, theirs: Number) -> Finding:
    """Return the finding on one cell that two tables print differently."""
    return Finding(
        check,
        names((mine, theirs)),
        f"{mine.place}, in {' and '.join(names((mine, theirs)))}",
        f"{mine.text} and {theirs.text}",
        f"{mine.accuracy:.2f} and {theirs.accuracy:.2f}" if mine.reported.metric != theirs.reported.metric else "",
        f"differ by {abs(mine.accuracy - theirs.accuracy):.2f}{', same std' if mine.same_std(theirs) else ''}",
    )


def _spread(number: Number) -> str:
    """Return what a table says about the spread of a mean; "" where it says nothing."""
    if number.reported.std is not None:
        return f"± {number.reported.std:.2f}"
    return "a single run" if number.reported.n == 1 else ""


def _signed(gains: Sequence[float]) -> str:
    return " ".join(f"{round(gain, 2) + 0.0:+.2f}" for gain in gains)

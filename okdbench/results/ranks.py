"""Average ranks of a table's methods, with Friedman's test and the critical difference of Nemenyi's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import scipy  # its parts are loaded when they are used

from okdbench.plan import Cell
from okdbench.results.cells import CellResult
from okdbench.results.stats import SIGNIFICANCE

LEAST_METHODS = 3
"""Friedman's test compares three methods or more."""
LEAST_BLOCKS = 2


@dataclass(frozen=True)
class Ranks:
    """Methods by their average rank in one reading, best (1) first, over ``blocks`` blocks; see Demšar 2006.

    ``methods`` has a cell for each, of one data set and network, with its rank. ``unit`` says what a block is: a data
    set with a network, or, where the reading has only one of these, a seed. Methods whose ranks differ by less than
    ``critical_difference`` do not differ significantly at 5%. ``p_value`` is Friedman's, for all methods being equal.
    """

    reading: str
    methods: tuple[tuple[Cell, float], ...]
    unit: Literal["data sets and networks", "seeds"]
    blocks: int
    p_value: float
    critical_difference: float


def rank_methods(results: Sequence[CellResult]) -> tuple[Ranks, ...]:
    """Return the ranks of a table's methods (with their settings) in each reading that is large enough for them.

    Readings of one training are nearly the same number: ranked together, they would count as methods of their own and
    widen the critical difference. The number of a block that is no seed is the mean over all seeds of a complete cell.
    Where some blocks lack some methods, what lacks most is left out.
    """
    readings: dict[str, list[CellResult]] = {}
    for result in results:
        if result.values and not result.is_rate:
            readings.setdefault(result.cell.reading, []).append(result)
    return tuple(filter(None, (_rank(reading, measured) for reading, measured in readings.items())))


def _rank(reading: str, measured: Sequence[CellResult]) -> Ranks | None:
    """Return the ranks in one reading; None where it has too few methods or blocks."""
    cells = {_method(result.cell): result.cell for result in reversed(measured)}
    alone = len({(result.cell.dataset, result.cell.network) for result in measured}) == 1
    numbers: dict[tuple[Any, ...], dict[Any, float]] = {}
    for result in measured:
        place = result.cell.dataset, result.cell.network
        accuracies = result.by_seed_in("accuracy")
        mean = {place: math.fsum(accuracies.values()) / len(accuracies)} if result.complete else {}
        found = {block: round(value, 9) for block, value in (accuracies if alone else mean).items()}
        if found:
            numbers.setdefault(_method(result.cell), {}).update(found)
    table = _complete(pd.DataFrame([pd.Series(each) for each in numbers.values()]).T)
    blocks, methods = table.shape
    if methods < LEAST_METHODS or blocks < LEAST_BLOCKS:
        return None
    ranks = table.rank(axis=1, ascending=False).mean().sort_values(kind="stable")
    keys = list(numbers)
    quantile = float(scipy.stats.studentized_range.ppf(1 - SIGNIFICANCE, methods, math.inf)) / math.sqrt(2)
    return Ranks(
        reading=reading,
        methods=tuple((cells[keys[i]], float(ranks[i])) for i in ranks.index),
        unit="seeds" if alone else "data sets and networks",
        blocks=blocks,
        p_value=_friedman(table),
        critical_difference=quantile * math.sqrt(methods * (methods + 1) / (6 * blocks)),
    )


def _method(cell: Cell) -> tuple[Any, ...]:
    """Return what is ranked: all that tells cells of one data set, network and reading apart."""
    return str(cell.method), *((axis, str(value)) for axis, value in cell.settings)


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    """Return blocks [rows] and methods [columns] without gaps, by leaving out whichever has the largest share."""
    while table.isna().any(axis=None):
        by_block, by_method = table.isna().mean(axis=1), table.isna().mean(axis=0)
        if by_block.max() >= by_method.max():
            table = table.drop(index=by_block.idxmax())
        else:
            table = table.drop(columns=by_method.idxmax())
    return table


def _friedman(table: pd.DataFrame) -> float:
    """Return p of Friedman's test; 1 where all methods are equal in every block."""
    if (table.nunique(axis=1) == 1).all():
        return 1.0
    return float(scipy.stats.friedmanchisquare(*(table[column] for column in table)).pvalue)

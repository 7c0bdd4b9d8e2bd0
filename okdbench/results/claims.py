"""A recipe's claims on one's own runs: the formula for each seed, and its spread over the seeds."""

from collections.abc import Iterable, Mapping

from okdbench.recipe import CellKey
from okdbench.recipe.axes import Axes
from okdbench.recipe.claims import Claim
from okdbench.recipe.formula import Statement, cells_of, compute
from okdbench.results.cells import CellResult
from okdbench.results.stats import ROUNDING, summarise

Measured = Mapping[CellKey, Mapping[int, float]]
"""The number of every cell with finished runs, by seed."""


def measured_numbers(cells: Iterable[CellResult]) -> Measured:
    """Return the numbers of the cells that are trained as the recipe says."""
    return {result.cell.key: result.by_seed for result in cells if result.values and not result.cell.changed}


def judge_claim(claim: Claim, axes: Axes, measured: Measured) -> str:
    """Return the claim's result on one's own runs, in words; "" where it is about no cell, or none has runs.

    A number is the mean over the seeds that all its cells have, with their standard deviation. It is compatible with
    the printed one if the 95% interval of the mean comes within the claim's tolerance of it, and is not compared with a
    single seed. Of a statement: whether it holds for the means over these seeds, and for how many of them by itself.
    """
    needed = cells_of(claim.formula, axes)
    found = [measured[key] for key in needed if key in measured]
    if not found:
        return ""
    if len(found) < len(needed):
        return f"{len(found)} of {len(needed)} cells trained"
    seeds = sorted(set(found[0]).intersection(*found[1:]))
    if not seeds:
        return "no seed that all its cells have"
    means = {key: sum(measured[key][seed] for seed in seeds) / len(seeds) for key in needed}
    try:
        each = [compute(claim.formula, axes, {key: measured[key][seed] for key in needed}) for seed in seeds]
        overall = compute(claim.formula, axes, means) if isinstance(each[0], Statement) else None
    except ValueError as error:
        return f"cannot be computed: it {error}".partition(";")[0]
    numbers = [value for value in each if not isinstance(value, Statement)]
    if numbers:
        return _number(claim, numbers)
    if not isinstance(overall, Statement):
        raise TypeError(f"{claim.formula}: a statement for each seed and a number for their means")
    result = f"{'holds' if overall.holds else 'does not hold'} ({overall.found})"
    holding = sum(isinstance(value, Statement) and value.holds for value in each)
    return f"{result}, {f'in {holding} of {len(seeds)} seeds' if len(seeds) > 1 else 'n = 1'}"


def _number(claim: Claim, values: list[float]) -> str:
    summary = summarise(values)
    decimals = max(claim.decimals, 2)
    if summary.mean is None or summary.std is None or summary.ci95 is None:
        return f"{values[0]:.{decimals}f}, n = 1"
    text = f"{summary.mean:.{decimals}f} ± {summary.std:.{decimals}f}, n = {summary.n}"
    if claim.printed is None:
        return text
    (low, high), allowed = summary.ci95, claim.allowed + ROUNDING
    within = low - allowed <= float(claim.printed) <= high + allowed
    return f"{text}: {'compatible' if within else 'differs'}"

"""Checks of published numbers against each other, and of what papers say of them; nothing is trained."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from okdbench.plan import Selection
from okdbench.plan.expansion import expand_table
from okdbench.recipe import Recipe, RecipeHeader
from okdbench.results.cells import evaluate_cells
from okdbench.results.claims import Measured, measured_numbers
from okdbench.studies.audit.claims import check_claims, with_own_runs
from okdbench.studies.audit.code import check_code
from okdbench.studies.audit.model import Check, Finding, tables
from okdbench.studies.audit.protocols import check_heads, check_names, check_protocols, check_repeats, check_selection
from okdbench.studies.audit.sources import (
    check_columns,
    check_gains,
    check_sources,
    check_stds,
    check_tables,
    check_twins,
)
from okdbench.studies.audit.spread import check_groups, check_single_runs, check_sweeps


def audit(
    recipes: Sequence[RecipeHeader], about: str | None = None, results: Path | None = None
) -> tuple[Finding, ...]:
    """Return all findings on these recipes, check by check; ``about``: only those on the recipe of that name.

    Claims are judged on the runs below ``results``, too. Simulations report no numbers and are passed over.
    """
    trained = [recipe for recipe in recipes if isinstance(recipe, Recipe)]
    found = [finding for finding in _all(trained) if about is None or about in finding.recipes]
    claimed = {finding.recipes[0] for finding in found if finding.claim}
    judged = [recipe for recipe in trained if results and recipe.name in claimed]
    measured = {recipe.name: _measured(recipe, results) for recipe in judged if results}
    return tuple(with_own_runs(found, trained, measured))


def _measured(recipe: Recipe, results: Path) -> Measured:
    if not (results / recipe.name).is_dir():
        return {}
    return measured_numbers(evaluate_cells(expand_table(recipe, Selection()), results))


def _all(recipes: Sequence[Recipe]) -> Iterator[Finding]:
    printed = tables(recipes)
    yield from check_claims(recipes)
    for check in (
        check_code,
        check_columns,
        check_stds,
        check_tables,
        check_twins,
        check_gains,
        check_sources,
        check_sweeps,
        check_single_runs,
        check_groups,
        check_selection,
        check_heads,
        check_protocols,
        check_names,
        check_repeats,
    ):
        yield from check(printed)


__all__ = ["Check", "Finding", "audit", "with_own_runs"]

"""Checks of published numbers against each other, and of what papers say of them; nothing is trained."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from okdbench.kept import kept
from okdbench.plan import Selection
from okdbench.plan.expansion import expand_table
from okdbench.recipe import Recipe, RecipeHeader, available, content_key, load
from okdbench.results.cells import evaluate_cells
from okdbench.results.claims import measured_numbers
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


@cache
def published() -> tuple[Finding, ...]:
    """Return the findings on all recipes that come with okdbench."""
    return kept("audit", content_key(), tuple[Finding, ...], lambda: audit(tuple(map(load, available()))))


def audit(recipes: Sequence[RecipeHeader], about: str | None = None) -> tuple[Finding, ...]:
    """Return all findings on the numbers that these recipes report, check by check; ``about``: only those on the
    recipe of that name.

    Simulations report no numbers and are passed over.
    """
    found = _all([recipe for recipe in recipes if isinstance(recipe, Recipe)])
    return tuple(finding for finding in found if about is None or about in finding.recipes)


def judged_on_runs(
    findings: Sequence[Finding], results: Path, read: Callable[[str], RecipeHeader] = load
) -> tuple[Finding, ...]:
    """Return the findings, those on claims with what the runs below ``results`` say; ``read`` returns a recipe by its
    name.
    """
    claimed = dict.fromkeys(finding.recipes[0] for finding in findings if finding.claim)
    found = [read(name) for name in claimed if (results / name).is_dir()]
    trained = [recipe for recipe in found if isinstance(recipe, Recipe)]
    plans = {recipe.name: expand_table(recipe, Selection()) for recipe in trained}
    measured = {name: measured_numbers(evaluate_cells(plan, results)) for name, plan in plans.items()}
    return tuple(with_own_runs(findings, trained, measured))


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


__all__ = ["Check", "Finding", "audit", "judged_on_runs", "published", "with_own_runs"]

"""Checks of published numbers against each other: only what is printed in recipes is read, nothing is trained."""

from collections.abc import Iterator, Sequence

from okdbench.recipe import Recipe, RecipeHeader
from okdbench.studies.audit.claims import check_claims
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


def audit(recipes: Sequence[RecipeHeader], about: str | None = None) -> tuple[Finding, ...]:
    """Return all findings on these recipes, check by check; ``about``: only those on the recipe of that name.

    Simulations report no numbers and are passed over.
    """
    trained = [recipe for recipe in recipes if isinstance(recipe, Recipe)]
    return tuple(finding for finding in _all(trained) if about is None or about in finding.recipes)


def _all(recipes: Sequence[Recipe]) -> Iterator[Finding]:
    printed = tables(recipes)
    yield from check_claims(recipes)
    for check in (
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


__all__ = ["Check", "Finding", "audit"]

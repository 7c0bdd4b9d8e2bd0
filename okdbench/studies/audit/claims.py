"""A paper's statements about its numbers, computed again from the numbers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from okdbench.recipe import Recipe
from okdbench.recipe.claims import Claim
from okdbench.recipe.formula import Statement, compute, numbers_of
from okdbench.results.claims import Measured, judge_claim
from okdbench.studies.audit.model import Finding

SHOWN = 5
"""Exceptions to a statement that are named one by one."""


def check_claims(recipes: Sequence[Recipe]) -> Iterator[Finding]:
    """One finding for each claim."""
    for recipe in recipes:
        for claim in recipe.claims:
            if claim.own_runs_only:
                yield replace(_finding(recipe, claim, "", "needs runs", False), holds=None)
                continue
            value = compute(claim.formula, recipe.axes, numbers_of(recipe.reported))
            yield _statement(recipe, claim, value) if isinstance(value, Statement) else _value(recipe, claim, value)


def with_own_runs(
    findings: Iterable[Finding], recipes: Sequence[Recipe], measured: Mapping[str, Measured]
) -> Iterator[Finding]:
    """The findings, those on claims with what one's own runs say; ``measured`` are the runs' numbers by recipe."""
    claims = {(recipe.name, claim.id): (recipe, claim) for recipe in recipes for claim in recipe.claims}
    for finding in findings:
        key = finding.recipes[0], finding.claim
        if finding.claim and key in claims and key[0] in measured:
            recipe, claim = claims[key]
            finding = replace(finding, ours=judge_claim(claim, recipe.axes, measured[key[0]]))
        yield finding


def _statement(recipe: Recipe, claim: Claim, value: Statement) -> Finding:
    rest = len(value.exceptions) - SHOWN
    named = "; ".join((*value.exceptions[:SHOWN], *([f"and {rest} more"] if rest > 0 else [])))
    result = "holds" if value.holds else f"does not hold{f': {named}' if named else ''}"
    return _finding(recipe, claim, value.found, result, value.holds)


def _value(recipe: Recipe, claim: Claim, value: float) -> Finding:
    off = abs(value - float(claim.printed or 0))
    holds = off <= claim.allowed + 1e-9
    result = "holds" if holds else f"off by {_digits(off, claim.decimals)}"
    computed = _digits(value, claim.decimals)
    return _finding(recipe, claim, computed, result, holds)


def _finding(recipe: Recipe, claim: Claim, computed: str, result: str, holds: bool) -> Finding:
    compared = f"{recipe.name}, {claim.source}: {claim.text}"
    return Finding("claims", (recipe.name,), compared, claim.printed or "", computed, result, claim.id, holds)


def _digits(value: float, decimals: int) -> str:
    """Format with one digit more than printed, unless that is a zero."""
    text = f"{round(value, decimals + 1) + 0.0:.{decimals + 1}f}"
    return text[:-1].removesuffix(".") if text.endswith("0") else text

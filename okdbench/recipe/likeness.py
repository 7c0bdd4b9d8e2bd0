"""Which numbers and claims of a recipe hold for one that extends it: those of cells that are trained and read alike."""

from collections.abc import Mapping
from typing import Any

from okdbench import kinds
from okdbench.recipe.axes import CellKey
from okdbench.recipe.formula import cells_of
from okdbench.recipe.schema import Recipe
from okdbench.recipe.settings import cell_settings, trained_network

Content = Mapping[str, Any]


def only_alike(base: Content, content: Content, own: Content) -> dict[str, Any]:
    """Return the content of a recipe without those printed numbers and claims of ``base`` that are for other trainings.

    A number that was printed for 300 epochs is none for 20. What the recipe's ``own`` file writes remains; where that
    prints other numbers, or none, the claims about the former ones go with them.
    """
    reported = own.get("reported", {})
    writes_numbers = not isinstance(reported, dict) or "cells" in reported
    if writes_numbers and "claims" not in own:
        content = {key: value for key, value in content.items() if key != "claims"}
    written = {"reported": writes_numbers, "claims": "claims" in own}
    inherited = [key for key, is_own in written.items() if key in content and not is_own]
    before, after = (_read(each) if inherited else None for each in (base, content))
    if not before or not after:
        return dict(content)  # nothing to judge, or mistakes, which are reported on their own

    def alike(key: CellKey) -> bool:
        return _terms(before, key) == _terms(after, key)

    result = dict(content)
    if "reported" in inherited and after.reported:
        pairs = zip(content["reported"]["cells"], after.reported.cells, strict=True)
        result["reported"] = {**content["reported"], "cells": [raw for raw, cell in pairs if alike(cell.key)]}
    if "claims" in inherited:
        claims = zip(content["claims"], after.claims, strict=True)
        result["claims"] = [raw for raw, claim in claims if all(map(alike, cells_of(claim.formula, after.axes)))]
    if not result.get("reported", {}).get("cells", True):
        del result["reported"]
    return result


def _read(content: Content) -> Recipe | None:
    """Return the recipe of a table; None for one with mistakes, and for other kinds."""
    kind = content.get("kind", kinds.DEFAULT_KIND)
    recipe = kinds.get(kind).read(content)[0] if kind in kinds.available() else None
    return recipe if isinstance(recipe, Recipe) else None


def _terms(recipe: Recipe, key: CellKey) -> tuple[Any, ...]:
    """Return all that decides about the number of a cell: what is trained, its teacher, and how it is read."""
    teacher = recipe.teachers.get(key.method.method)
    taught_by = teacher and (teacher, _training(recipe, key._replace(network=teacher.network, method=teacher.method)))
    return recipe.kind, _training(recipe, key), taught_by, recipe.protocol_of(key)


def _training(recipe: Recipe, key: CellKey) -> tuple[Any, ...]:
    """Return what is trained in a cell, be it on the grid or a teacher's."""
    labels = (*recipe.grid.method, key.method)
    own = cell_settings(key, enumerate(recipe.overrides), recipe.variants, labels)
    resolved, _ = recipe.resolver(key.method, own)
    return trained_network(key, own), resolved and resolved.flat(key.method.method)

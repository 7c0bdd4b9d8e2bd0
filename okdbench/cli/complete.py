"""What the shell completes: names of recipes, of what a recipe's grid has, and of data sets; none of it loads torch
without need.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from okdbench.errors import UsageError


def recipes(incomplete: str) -> list[str]:
    """Return recipes, and YAML files here, that begin with what was typed."""
    from okdbench.recipe import available

    folder, start = (Path(incomplete), "") if incomplete.endswith("/") else (Path(incomplete).parent, incomplete)
    files = (str(path) for path in folder.glob("*.y*ml")) if folder.is_dir() else ()
    return [name for name in (*available(), *sorted(files)) if name.startswith(start or incomplete)]


def on_grid(axis: str) -> Callable[..., list[str]]:
    """Return the completion of the names that the grid of the recipe on the line has on this axis."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        # An option that still lacks its value keeps click from assigning the recipe: it is left among the arguments.
        recipe = context.params.get("recipe") or next(iter(context.args), "")
        try:
            return [name for name in _values(recipe, axis) if name.startswith(incomplete)]
        except (UsageError, OSError):
            return []

    return complete


def datasets(incomplete: str) -> list[str]:
    """Return data sets that begin with what was typed."""
    from okdbench.data import available

    return [name for name in available() if name.startswith(incomplete)]


def trackers(incomplete: str) -> list[str]:
    """Return trackers that begin with what was typed."""
    from okdbench.tracking import available

    return [name for name in available() if name.startswith(incomplete)]


def _values(recipe: str, axis: str) -> Iterator[str]:
    """Yield the names as the file has them, whether or not the rest of it is valid."""
    from okdbench.recipe import find
    from okdbench.recipe.document import RecipeFile

    content: Any = RecipeFile(find(recipe)).data
    found = content.get("seeds") if axis == "seed" else (content.get("grid") or {}).get(axis)
    yield from map(str, found if isinstance(found, list) else [] if found is None else [found])

"""Trainings: a table of networks, methods and data sets, each cell trained with several seeds."""

from collections.abc import Mapping
from typing import Any


class Training:
    """See `okdbench.kinds.base.Kind`."""

    name = "training"

    def read(self, raw: Mapping[str, Any]) -> Any:
        """The recipe, and everything that is wrong with the file."""
        from okdbench.recipe.checks import read

        return read(raw)

    def expand(self, recipe: Any, selection: Any) -> Any:
        """The selected cells and their runs."""
        from okdbench.plan.expand import expand_table

        return expand_table(recipe, selection)


KIND = Training()

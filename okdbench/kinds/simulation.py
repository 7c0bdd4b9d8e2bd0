"""Simulations: readings of a paper's description, each of them a cell with one run."""

from collections.abc import Mapping
from typing import Any


class Simulation:
    """See `okdbench.kinds.base.Kind`."""

    name = "simulation"

    def read(self, raw: Mapping[str, Any]) -> Any:
        """The recipe, and everything that is wrong with the file."""
        from okdbench.recipe.problems import validated
        from okdbench.recipe.simulation import SimulationRecipe

        return validated(SimulationRecipe, raw, raw)

    def expand(self, recipe: Any, selection: Any) -> Any:
        """The selected readings and their runs."""
        from okdbench.plan.simulation import expand_simulation

        return expand_simulation(recipe, selection)


KIND = Simulation()

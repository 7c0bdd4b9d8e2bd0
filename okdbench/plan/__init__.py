"""A recipe and a selection as cells and runs, with the jobs that are left to do and what they will cost."""

from okdbench import kinds
from okdbench.kinds import AnyPlan
from okdbench.plan.selection import Selection
from okdbench.plan.simulation import SimulationCell, SimulationPlan, SimulationRun
from okdbench.plan.table import Cell, Plan, Reported, Run
from okdbench.recipe import RecipeHeader

__all__ = [
    "Cell",
    "Plan",
    "Reported",
    "Run",
    "Selection",
    "SimulationCell",
    "SimulationPlan",
    "SimulationRun",
    "expand",
]


def expand(recipe: RecipeHeader, selection: Selection | None = None) -> AnyPlan:
    """Return the cells and runs that a selection chooses; UsageError, one line for each mistake in the selection."""
    return kinds.get(recipe.kind).expand(recipe, selection or Selection())

"""A published table or simulation as data: read from YAML, checked, and expanded into cells and runs."""

from okdbench.recipe.axes import CellKey
from okdbench.recipe.document import parse_value
from okdbench.recipe.expand import AnyPlan, Cell, Plan, Reported, Run, expand
from okdbench.recipe.loader import AnyRecipe, available, find, load
from okdbench.recipe.schema import Protocol, Recipe
from okdbench.recipe.selection import Selection
from okdbench.recipe.simulation import SimulationCell, SimulationPlan, SimulationRecipe, SimulationRun

__all__ = [
    "AnyPlan",
    "AnyRecipe",
    "Cell",
    "CellKey",
    "Plan",
    "Protocol",
    "Recipe",
    "Reported",
    "Run",
    "Selection",
    "SimulationCell",
    "SimulationPlan",
    "SimulationRecipe",
    "SimulationRun",
    "available",
    "expand",
    "find",
    "load",
    "parse_value",
]

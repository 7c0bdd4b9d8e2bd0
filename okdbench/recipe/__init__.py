"""A published table or simulation as data: read from YAML and checked."""

from okdbench.recipe.axes import CellKey
from okdbench.recipe.document import parse_value
from okdbench.recipe.header import RecipeHeader
from okdbench.recipe.loader import available, find, load
from okdbench.recipe.schema import Protocol, Recipe
from okdbench.recipe.simulation import SimulationRecipe

__all__ = [
    "CellKey",
    "Protocol",
    "Recipe",
    "RecipeHeader",
    "SimulationRecipe",
    "available",
    "find",
    "load",
    "parse_value",
]

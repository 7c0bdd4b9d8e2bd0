"""A published table or simulation as data: read from YAML and checked."""

from typing import TYPE_CHECKING

from okdbench import lazy
from okdbench.recipe.document import parse_value
from okdbench.recipe.header import RecipeHeader
from okdbench.recipe.loader import available, bases, content_key, find, load

if TYPE_CHECKING:
    from okdbench.recipe.axes import CellKey
    from okdbench.recipe.schema import Protocol, Recipe
    from okdbench.recipe.simulation import SimulationRecipe

__all__ = [
    "CellKey",
    "Protocol",
    "Recipe",
    "RecipeHeader",
    "SimulationRecipe",
    "available",
    "bases",
    "content_key",
    "find",
    "load",
    "parse_value",
]

# Finding a recipe and reading its header does not need these.
__getattr__ = lazy.attributes(__name__, axes="CellKey", schema="Protocol Recipe", simulation="SimulationRecipe")

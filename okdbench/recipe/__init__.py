"""A published table or simulation as data: read from YAML and checked."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from okdbench.recipe.document import parse_value
from okdbench.recipe.header import RecipeHeader
from okdbench.recipe.loader import available, find, load

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
    "find",
    "load",
    "parse_value",
]

_LOADED_WHEN_ASKED_FOR = {"CellKey": "axes", "Protocol": "schema", "Recipe": "schema", "SimulationRecipe": "simulation"}
"""Names whose modules import torch; finding a recipe and reading its header does not need them."""


def __getattr__(name: str) -> Any:
    if name in _LOADED_WHEN_ASKED_FOR:
        return getattr(import_module(f"{__name__}.{_LOADED_WHEN_ASKED_FOR[name]}"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")

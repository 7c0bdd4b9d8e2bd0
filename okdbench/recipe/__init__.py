"""A published table as data: read from YAML, checked, and expanded into cells and runs."""

from okdbench.recipe.document import parse_value
from okdbench.recipe.expand import Cell, Plan, Reported, Run, Selection, expand
from okdbench.recipe.loader import available, find, load
from okdbench.recipe.schema import CellKey, Protocol, Recipe

__all__ = [
    "Cell",
    "CellKey",
    "Plan",
    "Protocol",
    "Recipe",
    "Reported",
    "Run",
    "Selection",
    "available",
    "expand",
    "find",
    "load",
    "parse_value",
]

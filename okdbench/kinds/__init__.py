"""What a recipe's cells can be: a training, a probe, a simulation. Each kind is one module here, found by its name.

This module knows no kind and loads one only when it is asked for by name, so every folder may import it. All that
differs from kind to kind is reached through it; nothing outside a kind's own files compares names of kinds.
"""

from okdbench.kinds.base import AnyCell, AnyPlan, AnyReport, AnyRun, Kind
from okdbench.plugins import Catalog

DEFAULT_KIND = "training"
"""The kind of a recipe or a configuration that names none."""
_CATALOG: Catalog[Kind] = Catalog(__name__, __path__, "KIND", "kind", Kind)  # type: ignore[type-abstract]

__all__ = ["DEFAULT_KIND", "AnyCell", "AnyPlan", "AnyReport", "AnyRun", "Kind", "available", "get"]


def available() -> tuple[str, ...]:
    """Return the names of all kinds, sorted."""
    return tuple(_CATALOG.names())


def get(name: str) -> Kind:
    """Return the kind of that name; raise UsageError with a suggestion if there is none."""
    return _CATALOG.get(name)

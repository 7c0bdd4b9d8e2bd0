"""What a recipe's cells can be: a training, a simulation. Each kind is one module of this folder, found by its name.

This module knows no kind and loads one only when it is asked for by name, so every folder may import it. All that
differs from kind to kind is reached through it; nothing outside a kind's own files compares names of kinds.
"""

import importlib
import pkgutil
from functools import cache
from typing import cast

from okdbench import plugins
from okdbench.errors import UsageError, did_you_mean
from okdbench.kinds.base import AnyCell, AnyPlan, AnyReport, AnyRun, Kind

DEFAULT_KIND = "training"
"""The kind of a recipe or a configuration that names none."""
_PROTOCOL = "base"

__all__ = ["DEFAULT", "AnyCell", "AnyPlan", "AnyReport", "AnyRun", "Kind", "available", "get"]


def available() -> tuple[str, ...]:
    """Return the names of all kinds, sorted."""
    return tuple(sorted({*_own(), *_offered()}))


@cache
def get(name: str) -> Kind:
    """Return the kind of that name; raise UsageError with a suggestion if there is none."""
    if name in _own():
        return cast(Kind, importlib.import_module(f"{__name__}.{name.replace('-', '_')}").KIND)
    if name in _offered():
        return _offered()[name]
    raise UsageError(f'there is no kind "{name}"; {did_you_mean(name, available())}')


@cache
def _own() -> frozenset[str]:
    """Return the kinds of this folder: a module's name with hyphens."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return frozenset(name.replace("_", "-") for name in names if name != _PROTOCOL)


@cache
def _offered() -> dict[str, Kind]:
    """Return the kinds of plugins: an installed package's entry point, or ``KIND`` in a file."""
    offers = (getattr(offer.value, "KIND", offer.value) for offer in plugins.offers("okdbench.kinds"))
    return {offer.name: offer for offer in offers if isinstance(offer, Kind)}

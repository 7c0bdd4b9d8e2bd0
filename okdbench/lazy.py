"""Packages whose names are loaded when they are asked for, so that importing the package does not import torch."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def attributes(package: str, **modules: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package; each keyword is one of its modules, with the names that it defines.

    The package imports the same names under ``TYPE_CHECKING``, for the type checker and for whoever reads it.
    """
    places = {name: module for module, names in modules.items() for name in names.split()}

    def load(name: str) -> Any:
        if name in places:
            return getattr(import_module(f"{package}.{places[name]}"), name)
        raise AttributeError(f"module {package} has no attribute {name}")

    return load

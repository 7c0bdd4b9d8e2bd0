"""Engines by name. Each is one module of this folder, found by its name, or a plugin's; see `EngineKind`."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from okdbench import engines
from okdbench.engines.base import Engine
from okdbench.engines.queue import Patience
from okdbench.errors import needs_extra
from okdbench.plugins import Catalog
from okdbench.runs.execution import DEFAULT_EXECUTION, Execution

DEFAULT_ENGINE = "local"


@dataclass(frozen=True)
class Request:
    """What an engine is asked for.

    ``data`` and ``results`` are the folders of images and records; ``device`` is what the user named: ``auto``, or
    torch devices; ``parallel`` the most workers at a time, None for as many as there is room for; ``processes`` how
    many train one run together; ``patience`` says when a worker is given up. ``settings`` are the engine's own, from
    its section of ``okdbench.toml``.
    """

    data: Path
    results: Path
    device: str = "auto"
    parallel: int | None = None
    processes: int = 1
    execution: Execution = DEFAULT_EXECUTION
    patience: Patience = Engine.patience
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineKind:
    """An engine by name: the function that makes one, and the one that says in a line what it finds here.

    Both raise UsageError, with the remedy, where the engine cannot be used. A module of this folder assigns an
    `EngineKind` to ``ENGINE``, as does the file of a plugin; an installed package announces it, or a module that has
    it, under the entry point group ``okdbench.engines``.
    """

    name: str
    make: Callable[[Request], Engine]
    find: Callable[[], str]


_CATALOG = Catalog(
    engines.__name__,
    engines.__path__,
    "ENGINE",
    "engine",
    EngineKind,
    besides=("base", "events", "queue", "registry"),
)


def available() -> tuple[str, ...]:
    """Return the names of all engines: the default one first, the others in alphabetical order."""
    return tuple(sorted(_CATALOG.names(), key=lambda name: name != DEFAULT_ENGINE))


def get(name: str) -> EngineKind:
    """Return the engine of that name; raise UsageError with a suggestion if there is none."""
    return _CATALOG.get(name)


def of_extra(engine: str, package: str) -> ModuleType:
    """Return a package of an engine's extra; raise UsageError if it is not installed."""
    installed(engine, package)
    return importlib.import_module(package)


def installed(engine: str, package: str) -> str:
    """Return a package of an engine's extra with its version; raise UsageError if it is not installed."""
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        raise needs_extra(f"--engine {engine}", package, engine) from None

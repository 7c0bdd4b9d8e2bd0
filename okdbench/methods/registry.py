"""Finds methods: every concrete class in a file of this folder, or of a plugin; nothing is registered by hand."""

import importlib
import pkgutil
from functools import cache
from inspect import isabstract
from types import ModuleType
from typing import Any

import okdbench.methods
from okdbench import networks, plugins
from okdbench.config import RunConfig
from okdbench.errors import UsageError, did_you_mean
from okdbench.methods.base import Build, Method, MethodConfig
from okdbench.networks.counting import weightless

RESERVED = ("training", "data", "probe", "network", "dataset", "method", "reading", "default")
"""Words that stand before the dot of a setting, or in place of a label."""
_Found = tuple[type[Method], str | None]


@cache
def _found() -> dict[str, _Found]:
    """Return all methods by name, sorted, with the version of the plugin that each comes from."""
    found: dict[str, _Found] = {}
    own = [
        (importlib.import_module(f"okdbench.methods.{info.name}"), None)
        for info in pkgutil.iter_modules(okdbench.methods.__path__)
    ]
    for offered, version in (*own, *plugins.offers("okdbench.methods")):
        for value in vars(offered).values() if isinstance(offered, ModuleType) else (offered,):
            if not (isinstance(value, type) and issubclass(value, Method)) or _is_base(value):
                continue
            _require_usable(value)
            if found.setdefault(value.name, (value, version))[0] is not value:
                first, second = plugins.origin(found[value.name][0]), plugins.origin(value)
                raise UsageError(f'method "{value.name}": {first} and {second} both offer it; rename one')
    return dict(sorted(found.items()))


def _is_base(kind: type[Method]) -> bool:
    """Return whether a class is there for other methods to inherit from."""
    return isabstract(kind) and "name" not in vars(kind)


def _require_usable(kind: type[Method]) -> None:
    """Raise UsageError for a class that cannot be a method, with what is missing or wrong."""
    where = f"{plugins.origin(kind)}, class {kind.__name__}"
    if "name" not in vars(kind):
        raise UsageError(f'{where}: has no name of its own; add name = "{kind.__name__.lower()}"')
    plugins.require_name("method", kind.name, where)
    if kind.name in RESERVED:
        raise UsageError(f'method "{kind.name}" of {where}: that word has another meaning in recipes; rename it')
    if isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise UsageError(f'method "{kind.name}" of {where}: lacks {missing}; define it')
    if not (isinstance(kind.Config, type) and issubclass(kind.Config, MethodConfig)):
        raise UsageError(f'method "{kind.name}" of {where}: its Config is no subclass of MethodConfig; make it one')


@cache
def available() -> dict[str, type[Method]]:
    """Return all methods by name, sorted."""
    return {name: kind for name, (kind, _) in _found().items()}


def origins(method: str, network: str) -> dict[str, str] | None:
    """Return the versions of the plugins of a run's method and networks (``A+B``); None if they come from none."""
    versions = {f"network {name}": networks.version(name) for name in networks.NetworkName(network).names}
    if method in _found():
        versions[f"method {method}"] = _found()[method][1]
    return {what: version for what, version in sorted(versions.items()) if version} or None


def get(name: str) -> type[Method]:
    """Return the method of that name; raise UsageError with a suggestion if there is none."""
    if name not in available():
        raise UsageError(f'unknown method "{name}": {plugins.suggest(name, available())}')
    return available()[name]


def configure(label: str, changes: dict[str, Any]) -> MethodConfig:
    """Return the settings of ``method`` or ``method@preset`` with some changed (key ``preset`` names a preset as well).

    Raise UsageError for an unknown method or preset; pydantic's ValidationError for a bad setting.
    """
    name, _, preset = label.partition("@")
    config = get(name).Config
    changes = dict(changes)
    preset = preset or changes.pop("preset", "paper")
    if preset not in config.presets:
        raise UsageError(f'method "{name}" has no preset "{preset}": {did_you_mean(preset, config.presets)}')
    return config.from_preset(preset, changes)


def heads(config: RunConfig, classes: int) -> tuple[tuple[str, ...], str]:
    """Return the heads of a run's method, and the one that it deploys; raise ValueError as `make` does."""
    try:
        with weightless():
            method = make(config, classes)
    except RuntimeError:  # a plugin's, whose constructor looks at weights
        method = make(config, classes)
    return tuple(method.heads()), method.deployed


def make(config: RunConfig, classes: int, teacher: Method | None = None) -> Method:
    """Return a run's method with its keyed initial weights.

    A method that needs a teacher gets ``teacher``, or one with initial weights. Raise ValueError if the method cannot
    be made of these networks, or needs a teacher and the run names none.
    """
    if config.teacher and not teacher:
        teacher = make(config.teacher, classes)
    kind = get(config.method)
    return kind(Build(networks.several(config.network), classes, config.seed, teacher), kind.Config(**config.settings))

"""Finding architectures: every module of this folder, and every plugin, may offer a list ``ARCHITECTURES``."""

import importlib
import pkgutil
from functools import cache

import okdbench.networks
from okdbench import plugins
from okdbench.errors import UsageError
from okdbench.networks import timm
from okdbench.networks.base import Architecture
from okdbench.networks.names import NetworkName

_Found = tuple[Architecture, str | None]


@cache
def _found() -> dict[str, _Found]:
    """Return all architectures by identifier, sorted, with the version of the plugin that each comes from."""
    found: dict[str, _Found] = {}
    own = [
        (importlib.import_module(f"okdbench.networks.{info.name}"), None)
        for info in pkgutil.iter_modules(okdbench.networks.__path__)
    ]
    for offered, version in (*own, *plugins.offers("okdbench.networks")):
        for architecture in getattr(offered, "ARCHITECTURES", [offered] if isinstance(offered, Architecture) else []):
            if version:
                plugins.require_name("network", architecture.name, getattr(offered, "__name__", version))
            if found.setdefault(architecture.name, (architecture, version))[0] is not architecture:
                raise UsageError(f'network "{architecture.name}": two modules offer it; rename one')
    return dict(sorted(found.items()))


@cache
def available() -> dict[str, Architecture]:
    """Return all architectures by identifier, sorted."""
    return {name: architecture for name, (architecture, _) in _found().items()}


def version(name: str) -> str | None:
    """Return the version of the plugin that an architecture comes from; None for okdbench's own and timm's."""
    return _found()[name][1] if name in _found() else None


def get(name: str) -> Architecture:
    """Return the architecture of that identifier; raise UsageError with a suggestion if there is none.

    ``timm/<name>`` is a model of the timm package. A name that papers print for several networks is never an
    identifier: the error lists what it may mean.
    """
    if name.startswith(timm.TIMM_PREFIX):
        return timm.architecture(name)
    if name in available():
        return available()[name]
    meant = [a.name for a in available().values() if a.name.startswith(f"{name}_") or _plain(a.title) == _plain(name)]
    if len(meant) > 1:
        raise UsageError(f'unknown network "{name}": it may mean {", ".join(meant)}; choose one')
    raise UsageError(f'unknown network "{name}": {plugins.suggest(meant[0] if meant else name, available())}')


def several(names: str) -> tuple[Architecture, ...]:
    """Return the architectures of ``A``, or of ``A+B`` .. in that order; raise UsageError for an unknown name."""
    return tuple(get(name) for name in NetworkName(names).names)


def _plain(title: str) -> str:
    return title.lower().replace("-", "").replace("_", "")

"""Plugins of third parties: installed packages announce them, files are named by the user.

A package announces a module (or a class, or an `Architecture`) under an entry point group with the name of the package
that it adds to: ``okdbench.methods``, ``okdbench.networks``, ``okdbench.kinds``, ``okdbench.report.formats``,
``okdbench.tracking`` and so on. A file is named by ``okdbench --plugin FILE.py``, or in the environment variable
OKDBENCH_PLUGINS (several are separated as in PATH), which is how workers learn of it.
"""

import hashlib
import importlib.util
import os
import pkgutil
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, cast

from okdbench.errors import UsageError, did_you_mean

T = TypeVar("T")
VARIABLE = "OKDBENCH_PLUGINS"
FORGOTTEN = "did you forget --plugin FILE.py?"
_PREFIX = "okdbench_plugin_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def add(path: Path) -> None:
    """Make a file known to this process and to the workers it starts; raise UsageError if there is no such file."""
    if not path.is_file():
        raise UsageError(f"--plugin {path}: there is no such file; name a Python file")
    known = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = os.pathsep.join(filter(None, [known, str(path.absolute())]))


def exist() -> bool:
    """Return whether there is any plugin: a file that was named, or an installed package that announces one."""
    return bool(plugin_files()) or any(group.startswith("okdbench.") for group in entry_points().groups)


def origin(value: object) -> str:
    """Return the file of the plugin that defines a class, or, of an installed package, the module."""
    module = str(getattr(value, "__module__", ""))
    file = getattr(sys.modules.get(module), "__file__", None)
    return str(file) if file and module.startswith(_PREFIX) else module


def require_name(what: str, name: object, source: str) -> None:
    """Raise UsageError unless ``name`` can name something in recipes, commands and folders."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise UsageError(
            f"{what} {name!r} of {source}: a name is one word of letters, digits, - and _, since folders are called "
            "by it; rename it"
        )


class Offer(NamedTuple):
    """A module, class or architecture of a plugin.

    ``version`` tells two states of the plugin apart, for a run's identity: "NAME VERSION" of a package, or the first
    12 hexadecimal digits of a file's SHA-256. What the plugin imports does not count.
    """

    value: Any
    version: str


def offers(group: str) -> list[Offer]:
    """Return what installed packages announce under an entry point group, and every plugin file as a module."""
    return [*_announced(group), *(_module(path) for path in plugin_files())]


@cache
def _announced(group: str) -> tuple[Offer, ...]:
    found: list[Offer] = []
    for entry in sorted(entry_points(group=group), key=lambda each: each.name):
        try:
            found.append(Offer(entry.load(), f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value))
        except BaseException as error:
            _raise_if_stopped(error)
            raise UsageError(f"entry point {group}: {entry.name} does not load ({error}); fix or remove it") from error
    return tuple(found)


class Catalog(Generic[T]):
    """Things that are found by name, each in a module of one package or offered by a plugin, and loaded when asked for.

    A module's name, with hyphens, is that of what it assigns to ``attribute``; a plugin's file assigns it too, and an
    installed package announces it under the entry point group of the package's name. Modules named in ``besides`` are
    none of them.
    """

    def __init__(
        self,
        package: str,
        path: Iterable[str],
        attribute: str,
        what: str,
        kind: type[T],
        besides: Iterable[str] = ("base",),
    ) -> None:
        self._package, self._attribute, self._what, self._kind = package, attribute, what, kind
        modules = (module.name for module in pkgutil.iter_modules(path))
        self._own = frozenset(name.replace("_", "-") for name in modules if name not in besides)

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted({*self._own, *self._offered()})

    def get(self, name: str) -> T:
        """Return the one of that name; raise UsageError with a suggestion if there is none."""
        if name in self._own:
            module = importlib.import_module(f"{self._package}.{name.replace('-', '_')}")
            return cast(T, getattr(module, self._attribute))
        if name in (offered := self._offered()):
            return offered[name]
        raise UsageError(f'there is no {self._what} "{name}"; {suggest(name, self.names())}')

    def _offered(self) -> dict[str, T]:
        found: dict[str, T] = {}
        for offer in offers(self._package):
            value: Any = getattr(offer.value, self._attribute, offer.value)
            if isinstance(value, self._kind):
                name = getattr(value, "name", None)
                require_name(self._what, name, str(getattr(offer.value, "__name__", offer.version)))
                found[str(name)] = value
        return found


def _raise_if_stopped(error: BaseException) -> None:
    """Raise what is not the doing of a plugin's code: Ctrl-C."""
    if isinstance(error, KeyboardInterrupt):
        raise error


def suggest(name: str, choices: Iterable[str]) -> str:
    """Return `did_you_mean` for a name that a plugin could offer: where no name is near, it asks for the plugin."""
    remedy = did_you_mean(name, choices)
    return remedy if remedy.startswith("did you mean") else f"{FORGOTTEN} Or {remedy}"


def plugin_files() -> list[Path]:
    """Return the plugin files in the order in which they were named."""
    return [Path(text).expanduser() for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]


def fingerprints() -> dict[str, str]:
    """Name and hash of every plugin file, for the record of a run."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in plugin_files()}


@cache
def _module(path: Path) -> Offer:
    """Return a plugin file as a module, executed once; raise UsageError with the reason where it does not load."""
    name = f"{_PREFIX}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    try:
        if spec is None or spec.loader is None:
            raise ImportError("it is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # where dataclasses and pydantic look up what an annotation means
        source = path.read_bytes()  # read once, so that the code executed is the code hashed, never an older .pyc
        exec(compile(source, path, "exec"), vars(module))
    except BaseException as error:
        sys.modules.pop(name, None)
        _raise_if_stopped(error)
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"plugin {path}: does not load ({why:.300}); fix the file") from error
    return Offer(module, hashlib.sha256(source).hexdigest()[:12])

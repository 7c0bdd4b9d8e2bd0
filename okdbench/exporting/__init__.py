"""Writing the network of a finished run for use without okdbench. Each form is one module of this folder.

This module loads a form only when it is asked for by name, so that naming them all is cheap.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from okdbench.errors import UsageError, needs_extra
from okdbench.plugins import Catalog

if TYPE_CHECKING:
    from okdbench.training.deployed import DeployedNetwork

DEFAULT_FORM = "safetensors"


class Written(NamedTuple):
    """The files that a form has written, and the lines of Python that load the network from them, in their folder.

    The lines assign a function from images (a tensor [N, 3, S, S]) to logits to ``network``, without okdbench.
    """

    files: tuple[Path, ...]
    loading: str


@dataclass(frozen=True)
class ExportForm:
    """A form of exported networks: its name, the ending of its files, and the function that writes them.

    A module of this folder assigns it to ``FORM``, as does the file of a plugin; an installed package announces it
    under ``okdbench.exporting``.
    """

    name: str
    ending: str
    write: "Callable[[DeployedNetwork, Path], Written]"


_CATALOG = Catalog(__name__, __path__, "FORM", "form", ExportForm)


def available() -> tuple[str, ...]:
    """Return the names of all forms, sorted."""
    return tuple(_CATALOG.names())


def get(name: str) -> ExportForm:
    """Return the form of that name; raise UsageError with a suggestion if there is none."""
    return _CATALOG.get(name)


def of_suffix(file: Path) -> ExportForm | None:
    """Return the form to whose ending the file's belongs; None if it belongs to none."""
    return next((each for each in map(get, available()) if file.name.endswith(each.ending)), None)


def needs(package: str) -> UsageError:
    """Return the error that a package of the extra ``export`` is not installed."""
    return needs_extra("export", package, "export")

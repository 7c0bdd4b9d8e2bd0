"""Output formats. Each is one module of this folder, found by its name, or a plugin's; see `Format`.

This module loads a format only when it is asked for by name, so that naming them all is cheap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from okdbench.errors import UsageError
from okdbench.plugins import Catalog
from okdbench.printable import all_printable

if TYPE_CHECKING:
    from okdbench.report.model import Appendix, Document

DEFAULT_FORMAT = "text"


class Content(Protocol):
    """What a verb found, for readers and for programs; a format takes from it what it can show."""

    @property
    def schema(self) -> str:
        """The name of the object of `facts` and its version, ``okdbench.report/2``."""

    def documents(self) -> "Sequence[Document]":
        """Titles, tables and legends in the order in which they are read."""

    def appendices(self) -> "Sequence[Appendix]":
        """For each document what a reader looks up: figures, audit, environment, commands; made only when asked for."""

    def rows(self) -> list[dict[str, Any]]:
        """Return the long form: one dictionary per row, not all of them with the same keys."""

    def facts(self) -> dict[str, Any]:
        """Return everything, as one object that JSON can hold."""


@dataclass(frozen=True)
class Printable:
    """Content without characters that would change how the rest is shown; what all formats are given."""

    content: Content

    @property
    def schema(self) -> str:
        """See `Content`."""
        return self.content.schema

    def documents(self) -> "Sequence[Document]":
        """See `Content`."""
        return all_printable(self.content.documents())

    def appendices(self) -> "Sequence[Appendix]":
        """See `Content`."""
        return all_printable(self.content.appendices())

    def rows(self) -> list[dict[str, Any]]:
        """See `Content`."""
        return all_printable(self.content.rows())

    def facts(self) -> dict[str, Any]:
        """See `Content`: as they are, since JSON can escape all characters."""
        return self.content.facts()


@dataclass(frozen=True)
class Screen:
    """Where the text is shown: columns (None if lines may have any length), and whether it can show colours.

    ``fragment``: it is to be a part of another document instead of one that stands alone.
    """

    width: int | None = None
    colour: bool = False
    fragment: bool = False


@dataclass(frozen=True)
class Format:
    """An output format: its name, the endings of its files, and the function that writes it.

    ``fragments``: it can write a `Screen.fragment`. ``pages``: it writes documents for readers, not
    values for programs.

    A module of this folder assigns it to ``FORMAT``, as does the file of a plugin; an installed package announces it,
    or a module that has it, under the entry point group ``okdbench.report.formats``.
    """

    name: str
    endings: tuple[str, ...]
    write: Callable[[Content, Screen], str]
    fragments: bool = False
    pages: bool = True


def written(format: Format, content: Content, screen: Screen) -> str:
    """Return what the format makes of the content; raise UsageError where the code of a plugin's format fails."""
    try:
        text: object = format.write(Printable(content), screen)
    except Exception as error:
        if isinstance(error, UsageError) or format.write.__module__.startswith(__name__):
            raise
        raise UsageError(f'format "{format.name}": {type(error).__name__}: {error}; fix the plugin') from error
    if not isinstance(text, str):
        raise UsageError(f'format "{format.name}": gives {type(text).__name__}, not text; fix the plugin')
    return text


_CATALOG = Catalog(__name__, __path__, "FORMAT", "format", Format)


def available() -> tuple[str, ...]:
    """Return the names of all formats: text first, the others in alphabetical order."""
    return tuple(sorted(_CATALOG.names(), key=lambda name: name != DEFAULT_FORMAT))


def get(name: str) -> Format:
    """Return the format of that name, or whose files end so (``md``); raise UsageError if there is none."""
    formats = [] if name in available() else [_CATALOG.get(known) for known in available()]
    return next((each for each in formats if f".{name}" in each.endings), None) or _CATALOG.get(name)


def of(file: Path) -> Format:
    """Return the format to which the file's ending belongs, text where it has none; UsageError for an unknown one."""
    if not file.suffix:
        return get(DEFAULT_FORMAT)
    known = list(map(get, available()))
    for each in known:
        if file.suffix in each.endings:
            return each
    endings = ", ".join(ending for each in known for ending in each.endings)
    raise UsageError(f'{file}: no format has the ending "{file.suffix}"; choose from: {endings}; or add --format')

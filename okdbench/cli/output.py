"""How verbs print: tables for people, JSON for programs, and plain lines if there is no terminal."""

import os
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from okdbench.errors import UsageError
from okdbench.printable import all_printable, printable, printable_lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from okdbench.report.formats import Content, Format


@cache
def console() -> "Console":
    """Return the console of standard output."""
    from okdbench.report.console import make_console

    return make_console()


@dataclass
class Verbosity:
    """What the user asked for: ``quiet`` hides progress, ``verbose`` shows every epoch and where an error arose."""

    quiet: bool = False
    verbose: bool = False


verbosity = Verbosity()


def tolerate_any_text() -> None:
    """Let outputs replace the characters that their encoding lacks; what is written to closed ones is lost."""
    sys.stdout, sys.stderr = (stream or Path(os.devnull).open("w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def set_verbosity(quiet: bool, verbose: bool) -> None:
    """Remember what ``-q`` and ``-v`` say."""
    verbosity.quiet, verbosity.verbose = quiet and not verbose, verbose


def say(text: str = "", style: str | None = None) -> None:
    """Print a line; a terminal wraps it if necessary, and square brackets in it are not markup."""
    from rich.text import Text

    # A styled Text, because a style given to print() would also colour the live view that it redraws.
    console().print(Text(printable_lines(text), style=style or ""), soft_wrap=True)


def say_wrapped(text: str, style: str | None = None, indent: int = 2) -> None:
    """Print a line, broken between words where the terminal ends; further lines are indented."""
    from rich.text import Text

    breaking = textwrap.TextWrapper(
        console().width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
    for line in breaking.wrap(printable(text)):
        console().print(Text(line, style=style or ""), soft_wrap=True)


def print_to_stderr(text: str) -> None:
    """Print a line to standard error."""
    with suppress(OSError):  # a full disk, or a terminal that was closed: there is no other place to say it
        print(printable_lines(text), file=sys.stderr, flush=True)


def _write(text: str, output: Path | None) -> None:
    """Write a finished text to a file, or to standard output; raise UsageError if the file cannot be written."""
    from okdbench.files import atomic_write

    if output is None:
        sys.stdout.write(text)
        return
    try:
        if output.exists() and not output.is_file():  # such as /dev/stdout, or a pipe
            output.write_text(text, encoding="utf-8")
        else:
            with atomic_write(Path(os.path.realpath(output))) as file:  # a link of the user's stays one
                file.write(text)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror}); choose another file") from None
    say(f"{output} written")


def chosen_format(name: str | None, output: Path | None) -> "Format":
    """Return the format of that name (None: by the file's ending); raise UsageError if there is none."""
    from okdbench.report import formats

    return formats.get(name) if name else formats.of(output) if output else formats.get(formats.DEFAULT_FORMAT)


def write_content(content: "Content", format: "Format", output: Path | None, fragment: bool = False) -> None:
    """Write what a verb found to a file, or to standard output; see `Screen` for ``fragment``."""
    from okdbench.report import formats

    to_screen = output is None and console().is_terminal
    width, colour = (console().width, not console().no_color) if to_screen else (None, False)
    _write(formats.written(format, content, formats.Screen(width, colour, fragment)), output)


def say_json(schema: str, facts: Mapping[str, Any]) -> None:
    """Print facts as JSON; ``schema`` is their name and version, such as ``okdbench.status/1``."""
    from okdbench.report.formats.json import json_text

    sys.stdout.write(json_text(schema, facts))


def say_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = (), keys: Sequence[str] = ()
) -> None:
    """Print rows in aligned columns, those without any text left out; the columns named in ``right`` hold numbers.

    A table that is too wide is divided, with the columns named in ``keys`` in every part, or else the first one.
    """
    from okdbench.report.columns import plain_tables

    headings, rows = all_printable(list(headings)), all_printable(list(rows))
    used = [index for index in range(len(headings)) if not rows or any(row[index] for row in rows)]
    kept = [headings[index] for index in used]
    numbers = [index for index, heading in enumerate(kept) if heading in right]
    shown = [[row[index] for index in used] for row in rows]
    repeated = max(sum(heading in keys for heading in kept), 1)
    tables = plain_tables("", kept, shown, repeated, numbers, console().width)
    for number, table in enumerate(tables):
        if number:
            say()
        _print_trimmed(table)


def say_synthetic() -> None:
    """Print a line, below a table of data sets, on their synthetic stand-ins, which have no rows."""
    from okdbench.data.base import SYNTHETIC_PREFIX

    say(f"{SYNTHETIC_PREFIX}NAME: synthetic images of the same size as NAME, for trials; they need no files")


def say_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Print names and values side by side, a long value wrapped within its column."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=14)
    for name, value in fields:
        table.add_row(Text(printable(name)), Text(printable_lines(value)))
    _print_trimmed(table)


def _print_trimmed(table: "RenderableType") -> None:
    """Print a table without the spaces that pad its lines."""
    with console().capture() as printed:
        console().print(table)
    print("\n".join(line.rstrip() for line in printed.get().splitlines()))


def duration(seconds: float) -> str:
    """Format seconds as ``0:07``, ``12:34``, ``1:02:03`` or ``2 d 3 h``."""
    whole = round(seconds)
    if whole >= 48 * 3600:
        return f"{whole // 86400} d {whole % 86400 // 3600} h"
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"

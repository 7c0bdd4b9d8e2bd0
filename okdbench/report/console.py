"""The one place where a rich console is made."""

import sys
from typing import TextIO

from rich.console import Console

UNBOUNDED = 10_000
"""Columns of what is not a terminal: a line there ends only where we end it."""


def make_console(file: TextIO | None = None, width: int | None = None, colour: bool | None = None) -> Console:
    """A console for ``file``, None for standard output.

    ``width`` and ``colour`` are the terminal's where they are None; what is not a terminal has neither.
    """
    terminal = (file or sys.stdout).isatty()
    return Console(
        file=file,
        width=width or (None if terminal else UNBOUNDED),
        force_terminal=colour,
        no_color=None if colour is None else not colour,
        highlight=False,
    )

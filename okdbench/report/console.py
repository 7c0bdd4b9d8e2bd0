"""Creates every rich console."""

import sys
from typing import TextIO

from rich.console import Console

UNBOUNDED = 10_000
"""Columns of an output that is not a terminal: its lines are never wrapped."""


def make_console(file: TextIO | None = None, width: int | None = None, colour: bool | None = None) -> Console:
    """Return a console for ``file``, None for standard output.

    ``width`` and ``colour`` are the terminal's where they are None; other outputs have neither.
    """
    terminal = (file or sys.stdout).isatty()
    return Console(
        file=file,
        width=width or (None if terminal else UNBOUNDED),
        force_terminal=colour,
        no_color=None if colour is None else not colour,
        highlight=False,
    )

"""What tests of the command line share."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

STUB = (sys.executable, str(Path(__file__).parent / "stub_worker.py"))
"""Stands in for the worker command."""


class Outcome(NamedTuple):
    """What a person sees of a command."""

    status: int
    out: str
    err: str


Command = Callable[..., Outcome]
"""``okdbench("run", "quickstart")``: see the fixture of tests/cli."""

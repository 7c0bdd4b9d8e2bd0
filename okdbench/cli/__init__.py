"""The command line: one file per verb, no logic of its own, heavy imports inside the verb."""

from okdbench.cli.app import main

__all__ = ["main"]

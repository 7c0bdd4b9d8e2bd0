"""The fixtures of tests on the command line."""

from commandline import okdbench, stubbed

__all__ = ["okdbench", "stubbed"]

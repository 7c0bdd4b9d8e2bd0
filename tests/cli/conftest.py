"""The fixtures of tests on the command line."""

from commandline import okdbench, stubbed, tiny

__all__ = ["okdbench", "stubbed", "tiny"]

"""The command line in this process."""

from commandline import okdbench

__all__ = ["okdbench"]

"""User mistakes, reported in one line each, with the nearest valid names."""

import difflib
from collections.abc import Iterable

from okdbench import extras


class UsageError(Exception):
    """Wrong input from the user: the message names the file or option, the key, and the remedy.

    The command line prints it without a traceback and exits with status 2. Several mistakes found at once are
    joined by newlines, one line each. ``then`` are the words of the command to try next, without the program's name.
    """

    def __init__(self, message: str, then: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.then = then


class MissingExtra(UsageError):
    """A package is missing that one of the optional extras of okdbench brings."""


def needs_extra(what: str, package: str, extra: str) -> MissingExtra:
    """Return the error that a package is missing, which one of the optional extras of okdbench brings."""
    return MissingExtra(f"{what}: needs the package {package}: {extras.install_command(extra, package)}")


MOST_SUGGESTIONS = 8


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return the tail of an error message about an unknown name: near matches if there are any, else the choices.

    Names that begin with the unknown one are all suggested, unless they are too many.
    """
    known = sorted(choices)
    longer = [choice for choice in known if name and choice.startswith(name)]
    few = len(longer) <= MOST_SUGGESTIONS
    near = longer if longer and few else difflib.get_close_matches(name, longer or known, n=1, cutoff=0.6)
    if near:
        *others, last = (f'"{each}"' for each in near)
        listed = ", ".join(others)
        return f"did you mean {listed} or {last}?" if others else f"did you mean {last}?"
    return "choose from: " + ", ".join(known) if known else "there is none yet"

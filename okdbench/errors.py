"""User mistakes, reported in one line each, with the nearest valid names."""

import difflib
from collections.abc import Iterable


class UsageError(Exception):
    """Wrong input from the user: the message names the file or option, the key, and the remedy.

    The command line prints it without a traceback and exits with status 2. Several mistakes found at once are
    joined by newlines, one line each.
    """


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return the tail of an error message about an unknown name: a near match if there is one, else the choices."""
    known = sorted(choices)
    longer = [choice for choice in known if choice.startswith(name)]
    near = longer[:1] if len(longer) == 1 else difflib.get_close_matches(name, longer or known, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0]}"?'
    return "choose from: " + ", ".join(known) if known else "there is none yet"

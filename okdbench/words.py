"""Numbers and names in sentences."""

from collections.abc import Sequence


def count(number: int, noun: str) -> str:
    """Return the number and the noun: ``1 run``, ``2 runs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def enumerated(names: Sequence[str]) -> str:
    """Return names in a sentence: ``A, B and C``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))

"""How far long work is: whoever works tells it here, and the command line shows it if there is a terminal."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

T = TypeVar("T")
Advance = Callable[[int], None]
Show = Callable[[str, int | None, bool], AbstractContextManager[Advance]]
"""Shows work by its name, its amount (None if unknown), and whether that is in bytes; advanced by the amount done."""

_shows: list[Show] = []


def show_with(show: Show | None) -> None:
    """Let ``show`` show all further work of this process; None shows none."""
    _shows[:] = [show] if show else []


@contextmanager
def progress(what: str, total: int | None, in_bytes: bool = False) -> Iterator[Advance]:
    """Yield a function that is called with the amount of work just done."""
    if not _shows:
        yield lambda amount: None
        return
    with _shows[0](what, total, in_bytes) as advance:
        yield advance


def tracked(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yield the items, each done when the next is asked for."""
    with progress(what, total) as advance:
        for item in items:
            yield item
            advance(1)

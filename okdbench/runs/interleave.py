"""Work that takes turns in one process: on a GPU, one run's kernels fill the gaps that another's leave."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

Result = TypeVar("Result")
Turns = Generator[None, None, Result]
"""Work that pauses now and then, and ends with a result."""


def alternate(works: Sequence[Turns[Result]]) -> list[Result]:
    """Do all of them, a turn of each after the other, until the last has ended; their results in their order."""
    results: dict[int, Result] = {}
    while len(results) < len(works):
        for place, work in enumerate(works):
            if place in results:
                continue
            try:
                next(work)
            except StopIteration as end:
                results[place] = end.value
    return [results[place] for place in range(len(works))]


def within(work: Turns[Result], context: Callable[[], AbstractContextManager[object]]) -> Turns[Result]:
    """The same work, with a context around each of its turns."""
    while True:
        with context():
            try:
                next(work)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
        yield

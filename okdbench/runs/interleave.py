"""Generators that share one process: on a GPU, one run's kernels fill the gaps that another's leave."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

Result = TypeVar("Result")
Turns = Generator[None, None, Result]
"""Work that yields between its steps and returns a result."""


def drain(work: Turns[Result]) -> Result:
    """Run one generator to its end and return its result."""
    return round_robin([work])[0]


def round_robin(works: Sequence[Turns[Result]]) -> list[Result]:
    """Advance each generator in turn until all have ended; return their results in the order given."""
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


def in_context(work: Turns[Result], context: Callable[[], AbstractContextManager[object]]) -> Turns[Result]:
    """Wrap a generator so that each of its steps runs inside a context of its own."""
    while True:
        with context():
            try:
                next(work)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
        yield

"""How a step's work is launched: operation by operation, or recorded once as a graph and replayed.

A recorded function must do the same to the same tensors every time, as `Step.train` and pending batches do.
"""

import gc
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch

from okdbench.runs.interleave import Turns, in_context

Result = TypeVar("Result")
WARM_UP = 3
"""Calls before a function is recorded, in which libraries choose algorithms and allocate workspaces."""


class Runner(Protocol):
    """Calls functions repeatedly, each under a key of its own."""

    notes: list[str]
    """What could not be done as requested, for the record."""

    def __call__(self, key: Hashable, function: Callable[[], Result]) -> Result:
        """Do what ``function`` does. All functions under one key do the same to the same tensors."""
        ...


class Eager:
    """Calls every function directly: the reference."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def __call__(self, key: Hashable, function: Callable[[], Result]) -> Result:
        """Call ``function``."""
        return function()


EAGER = Eager()


class Capture(Protocol):
    """Records what a function does on the device."""

    def __call__(self, function: Callable[[], Result]) -> tuple[Callable[[], None], Result]:
        """Record ``function``; return (replay, result). Each replay overwrites the result's tensors.

        Recording by itself does nothing on the device. Raise RuntimeError where the function cannot be recorded.
        """
        ...


class CudaCapture:
    """Records CUDA graphs that share their memory, since they never run at the same time.

    Creating one moves this thread to a stream of its own, because the default stream cannot be recorded.
    """

    def __init__(self) -> None:
        if torch.cuda.current_stream() == torch.cuda.default_stream():
            torch.cuda.synchronize()
            torch.cuda.set_stream(torch.cuda.Stream())  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Callable[[], Result]) -> tuple[Callable[[], None], Result]:
        """Record everything that the function launches in the current stream as one graph."""
        graph = torch.cuda.CUDAGraph()
        try:
            # Thread-local: other threads of this process may use the device meanwhile, to load images for example.
            with (
                no_garbage(),
                torch.cuda.graph(
                    graph, pool=self._pool, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"
                ),
            ):
                result = function()
        except BaseException:
            self._pool = torch.cuda.graph_pool_handle()  # a failed recording leaves the old one unusable
            raise
        return graph.replay, result


@contextmanager
def no_garbage() -> Iterator[None]:
    """Collect garbage first, and none within this context.

    Freeing one graph while another is being recorded makes the recording fail.
    """
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def in_own_stream(work: Turns[Result], device: torch.device) -> Turns[Result]:
    """Give the work a CUDA stream of its own, so that it does not wait for the kernels of other work."""
    if device.type != "cuda":
        return work
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return in_context(work, lambda: torch.cuda.stream(stream))


class _Recorded(NamedTuple, Generic[Result]):
    replay: Callable[[], None]
    result: Result


class Graph:
    """Calls each function directly a few times, then records it and replays the record from then on.

    The first calls are not a rehearsal: they do real work. A function that cannot be recorded is still called directly,
    and ``notes`` say why.
    """

    def __init__(self, capture: Capture, warm_up: int = WARM_UP) -> None:
        self._capture, self._warm_up = capture, warm_up
        self._calls = Counter[Hashable]()
        self._recorded: dict[Hashable, _Recorded[object]] = {}
        self._refused = set[Hashable]()
        self.notes: list[str] = []

    def __call__(self, key: Hashable, function: Callable[[], Result]) -> Result:
        """Replay the key's record, or call ``function``; a replay's result has the tensors of the record."""
        self._calls[key] += 1
        if key not in self._recorded and key not in self._refused and self._calls[key] > self._warm_up:
            try:
                self._recorded[key] = _Recorded(*self._capture(function))
            except RuntimeError as error:
                self._refuse(key, error)
        if key not in self._recorded:
            return function()
        recorded = self._recorded[key]
        recorded.replay()
        return recorded.result  # type: ignore[return-value]

    def _refuse(self, key: Hashable, error: BaseException) -> None:
        """Remember why. An error raised at the end of a recording has the cause of the failure as its context."""
        while error.__context__:
            error = error.__context__
        note = f"not recorded: {str(error).partition(chr(10))[0]}"
        self._refused.add(key)
        if note not in self.notes:
            self.notes.append(note)
            print(note, flush=True)

"""How the work of a step reaches the device: launched operation by operation, compiled, or recorded once and replayed.

What is recorded must do the same to the same tensors every time; `Step.train` and the images' loads are made so.
"""

import gc
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from okdbench.methods import Batch, Method, Progress
from okdbench.runs.interleave import Turns, in_context

Result = TypeVar("Result")
WARM_UP = 3
"""Times that a function runs before it is recorded: libraries choose algorithms and allocate what they keep."""


class Runner(Protocol):
    """Does the work of functions that are called again and again, each under a key of its own."""

    notes: list[str]
    """What was not done as it was meant to, for whoever reads the record."""

    def __call__(self, key: Hashable, function: Callable[[], Result]) -> Result:
        """Do what ``function`` does. Under one key all functions do the same to the same tensors."""
        ...


class Eager:
    """Calls functions as they are: the reference."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def __call__(self, key: Hashable, function: Callable[[], Result]) -> Result:
        """Call ``function``."""
        return function()


EAGER = Eager()


class Capture(Protocol):
    """Records what a function does on the device."""

    def __call__(self, function: Callable[[], Result]) -> tuple[Callable[[], None], Result]:
        """What repeats the function's work, and its result, whose tensors every repetition writes anew.

        Recording alone does nothing on the device. RuntimeError where the function cannot be recorded.
        """
        ...


class CudaCapture:
    """Records CUDA graphs, which share their memory: they never run at the same time.

    From its making on, this thread works in a stream other than the default one, which cannot be recorded.
    """

    def __init__(self) -> None:
        if torch.cuda.current_stream() == torch.cuda.default_stream():
            torch.cuda.synchronize()
            torch.cuda.set_stream(torch.cuda.Stream())  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Callable[[], Result]) -> tuple[Callable[[], None], Result]:
        """One graph of all that the function launches in the current stream."""
        graph = torch.cuda.CUDAGraph()
        try:
            # Thread-local: what other threads of this process do meanwhile (loading images, say) is none of ours.
            with (
                no_garbage(),
                torch.cuda.graph(
                    graph, pool=self._pool, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"
                ),
            ):
                result = function()
        except BaseException:
            self._pool = torch.cuda.graph_pool_handle()  # a recording that broke off leaves the old one unusable
            raise
        return graph.replay, result


@contextmanager
def no_garbage() -> Iterator[None]:
    """Within this context Python frees nothing that refers to itself: what was there is freed before.

    A graph that is freed while another is being recorded breaks that recording off.
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
    """The same work; on a GPU, whatever it starts there waits for nothing that other work has started."""
    if device.type != "cuda":
        return work
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return in_context(work, lambda: torch.cuda.stream(stream))


class _Recorded(NamedTuple, Generic[Result]):
    replay: Callable[[], None]
    result: Result


class Graph:
    """Calls each function a few times as it is, then records it and from there on replays the record.

    The first calls are no rehearsal: they do the work that is due. A function that cannot be recorded goes on being
    called as it is, and ``notes`` say why.
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
        """Remember why; an error in the end of a recording only follows from the one that broke it off."""
        while error.__context__:
            error = error.__context__
        note = f"not recorded: {str(error).partition(chr(10))[0]}"
        self._refused.add(key)
        if note not in self.notes:
            self.notes.append(note)
            print(note, flush=True)


class CompiledLosses:
    """`Method.losses` compiled for whole batches; the epoch's shorter last one is not worth a compilation."""

    def __init__(self, method: Method, batch_size: int) -> None:
        self._plain, self._size = method.losses, batch_size
        self._compiled = torch.compile(self._plain, dynamic=False)

    def __call__(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The method's losses."""
        whole = len(batch.labels) == self._size
        return self._compiled(batch, progress) if whole else self._plain(batch, progress)


def compile_losses(method: Method, batch_size: int) -> None:
    """From now on the method's losses of whole batches, and their gradients, are computed by compiled code."""
    method.losses = CompiledLosses(method, batch_size)  # type: ignore[method-assign]

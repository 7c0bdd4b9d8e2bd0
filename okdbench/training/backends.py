"""How a step's work is launched: operation by operation, or recorded once as a graph and replayed.

A recorded function must do the same to the same tensors every time, as `Step.train` and pending batches do.
"""

import gc
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from okdbench.runs.execution import GraphError
from okdbench.runs.interleave import Turns, in_context

Result = TypeVar("Result")
Changes = Mapping[str, Sequence[Tensor]]
"""All tensors that a function changes and that later work reads, by kind: ``parameters``, ``buffers``."""
TOLERANCE = 0.05
"""How far a replay may be from the same work done directly, where kernels may differ: see `StateComparison`."""
WARM_UP = 3
"""Calls before a function is recorded, in which libraries choose algorithms and allocate workspaces."""


class Runner(Protocol):
    """Calls functions repeatedly, each under a key of its own."""

    notes: list[str]
    """What was found, for the record."""

    def __call__(self, key: Hashable, function: Callable[[], Result], changes: Callable[[], Changes]) -> Result:
        """Do what ``function`` does. All functions under one key do the same to the same tensors, ``changes``."""
        ...


class Eager:
    """Calls every function directly: the reference."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def __call__(self, key: Hashable, function: Callable[[], Result], changes: Callable[[], Changes]) -> Result:
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
        # Thread-local: other threads of this process may use the device meanwhile, to load images for example.
        with (
            no_garbage(),
            torch.cuda.graph(
                graph, pool=self._pool, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"
            ),
        ):
            result = function()
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
    """Give the work a CUDA stream and a random state of its own, so that it does not wait for other work's kernels."""
    if device.type != "cuda":
        return work
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    generator = torch.cuda.default_generators[stream.device_index]
    state = generator.clone_state()

    @contextmanager
    def own() -> Iterator[None]:
        with torch.cuda.stream(stream), drawing_from(generator, state):
            yield

    return in_context(work, own)


@contextmanager
def drawing_from(generator: torch.Generator, state: torch.Generator) -> Iterator[None]:
    """Within this context the generator, a GPU's own, uses and advances ``state`` in place of its own state.

    A graph keeps the state with which it was recorded: each of its replays writes seed and offset to tensors of that
    state, in its stream. Of one state for all graphs a replay could overwrite what kernels of another still read.
    """
    before = generator.graphsafe_get_state()
    generator.graphsafe_set_state(state)
    try:
        yield
    finally:
        generator.graphsafe_set_state(before)


class _Recorded(NamedTuple, Generic[Result]):
    replay: Callable[[], None]
    result: Result


class Graph:
    """Calls each function directly a few times, then records it and replays the record from then on.

    The first calls are not a rehearsal: they do real work. A new record is checked: it is replayed once, the function
    is called from the same state, and both must change the state alike, to the bit or within ``tolerance`` (see
    `StateComparison`). GraphError where a function cannot be recorded, where the check fails, or where a replay does.
    """

    def __init__(self, capture: Capture, warm_up: int = WARM_UP, tolerance: float = 0.0) -> None:
        self._capture, self._warm_up, self._tolerance = capture, warm_up, tolerance
        self._calls = Counter[Hashable]()
        self._recorded: dict[Hashable, _Recorded[Any]] = {}
        self.notes: list[str] = []

    def __call__(self, key: Hashable, function: Callable[[], Result], changes: Callable[[], Changes]) -> Result:
        """Replay the key's record, or call ``function``; a replay's result has the tensors of the record."""
        if key in self._recorded:
            _replay(self._recorded[key])
            return self._recorded[key].result  # type: ignore[no-any-return]
        self._calls[key] += 1
        if self._calls[key] <= self._warm_up:
            return function()
        try:
            recorded = _Recorded(*self._capture(function))
        except RuntimeError as error:
            raise GraphError(f"not recorded: {_cause(error)}") from error
        result = self._checked(recorded, function, changes())
        self._recorded[key] = recorded
        return result

    def _checked(self, recorded: _Recorded[Result], function: Callable[[], Result], state: Changes) -> Result:
        """Replay, go back, call ``function`` and compare; what remains is the work of the call."""
        before = _copy(state)
        devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
        with torch.random.fork_rng(devices=devices):  # both draw the same random numbers
            _replay(recorded)
        replayed = _copy(state)
        _put_back(state, before)
        result = function()
        found = compare_states(before, replayed, state)
        if found.distance > self._tolerance:
            raise GraphError(f"a replay changes the {found.where} otherwise than the step that it records")
        note = f"replays agree with single operations within {self._tolerance:.0%} of a step, not to the bit"
        if found.distance and note not in self.notes:
            self.notes.append(note)
        return result


def _replay(recorded: _Recorded[Any]) -> None:
    try:
        recorded.replay()
    except RuntimeError as error:
        raise GraphError(f"error at replay: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    """The first line; an error raised at the end of a recording has the cause of the failure as its context."""
    while error.__context__:
        error = error.__context__
    return str(error).partition("\n")[0]


class StateComparison(NamedTuple):
    """How far two ways to do the same work are apart, and of what kind the tensors are that differ most.

    The distance of two tensors is the root mean square of their difference, in parts of that of the change to the
    tensor, or of that to all tensors of its kind, whichever is larger. It is infinite for integers that differ.
    """

    distance: float
    where: str


def compare_states(before: Changes, one: Changes, other: Changes) -> StateComparison:
    """Compare the states ``one`` and ``other``, both reached from ``before``."""
    worst = StateComparison(0.0, "")
    for kind, values in other.items():
        different = [trio for trio in zip(before[kind], one[kind], values, strict=True) if not _equal(*trio[1:])]
        if different and not all(value.is_floating_point() for _, _, value in different):
            return StateComparison(math.inf, kind)
        changes = [_rms(value, start) for start, value in zip(before[kind], values, strict=True)] if different else []
        sizes = [value.numel() for value in values]
        typical = math.sqrt(sum(n * each**2 for n, each in zip(sizes, changes, strict=False)) / sum(sizes, 1))
        for start, left, right in different:
            change = max(_rms(right, start), typical)
            worst = max(worst, StateComparison(_rms(left, right) / change if change else math.inf, kind))
    return worst


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same to the bit, where a NaN equals another."""
    if torch.equal(one, other) or not one.is_floating_point():
        return torch.equal(one, other)
    return torch.allclose(one, other, rtol=0.0, atol=0.0, equal_nan=True)


def _rms(one: Tensor, other: Tensor) -> float:
    """The root mean square of the difference; NaN counts as 0."""
    difference = one.detach().double().nan_to_num() - other.detach().double().nan_to_num()
    return float(difference.square().mean().sqrt())


def _copy(state: Changes) -> dict[str, list[Tensor]]:
    return {kind: [tensor.detach().clone() for tensor in tensors] for kind, tensors in state.items()}


@torch.no_grad()
def _put_back(state: Changes, values: Changes) -> None:
    for kind, tensors in state.items():
        for tensor, value in zip(tensors, values[kind], strict=True):
            tensor.copy_(value)

"""The worker with `Recorder` in place of CUDA graphs, which may fail: ``python graph_worker.py RUN_DIR... [options]``.

The variable GRAPH_FAILS has pairs ``METHOD:HOW``, HOW being ``recording``, ``mismatch``, ``replay`` or ``crash``. A
checkpoint is written after every epoch. `Recorder` does not see into compiled code, so where code is compiled a replay
calls the function again.
"""

import os
import signal
import sys
from collections.abc import Callable

from training.recorder import Recorder

from okdbench import worker
from okdbench.methods import Method
from okdbench.runs.folder import Exit
from okdbench.training import checkpoint, computation
from okdbench.training.backends import EAGER, Graph, Result, Runner
from okdbench.training.computation import Computation

FAILS = dict(pair.split(":") for pair in os.environ["GRAPH_FAILS"].split())


class Failing(Recorder):
    """Fails as ``how`` says."""

    def __init__(self, how: str | None) -> None:
        super().__init__()
        self.how = how

    def __call__(self, function: Callable[[], Result]) -> tuple[Callable[[], None], Result]:
        if self.how == "recording":
            raise RuntimeError("operation not permitted when stream is capturing")
        if self.how == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        replay, result = super().__call__(function)

        def failing() -> None:
            if self.how == "replay" and self.replayed == 5:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            if self.how == "mismatch":
                self.operations.pop()
            replay()

        return failing, result


def calling_again(function: Callable[[], Result]) -> tuple[Callable[[], None], Result | None]:
    """Capture a function whose result nobody reads."""
    return lambda: void(function()), None


def void(_: object) -> None: ...


def main() -> int:
    prepare = Computation.prepare
    made: list[str] = []

    def prepared(self: Computation, method: Method, *more: object) -> object:
        made.append(method.name)
        return prepare(self, method, *more)  # type: ignore[arg-type]

    def runner(self: Computation, tolerance: float = 0.0) -> Runner:
        capture = calling_again if self.backend.compiles else Failing(FAILS.get(made[-1]))
        return Graph(capture, 1, tolerance) if self.backend.recorded else EAGER  # type: ignore[arg-type]

    Computation.prepare, Computation.runner = prepared, runner  # type: ignore[method-assign, assignment]
    computation.require_supported = lambda execution, device: None  # there is no GPU
    checkpoint.INTERVAL = 0.0
    return worker.main()


if __name__ == "__main__":
    status = main()
    assert status in set(Exit)
    sys.exit(status)

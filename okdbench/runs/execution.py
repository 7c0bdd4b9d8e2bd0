"""How runs are computed: choices that do not change a run's identity."""

import os
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from okdbench.errors import UsageError


class Backend(StrEnum):
    """How the work of a training step reaches the device."""

    auto = "auto"
    eager = "eager"
    compiled = "compiled"
    graph = "graph"
    compiled_graph = "compiled-graph"

    @property
    def recorded(self) -> bool:
        """Whether a step is recorded once and replayed."""
        return self in (Backend.graph, Backend.compiled_graph)

    @property
    def compiles(self) -> bool:
        """Whether the losses and their gradients are computed by compiled code."""
        return self in (Backend.compiled, Backend.compiled_graph)

    @property
    def next(self) -> "Backend":
        """What to try after a graph of this backend has failed."""
        return Backend.graph if self is Backend.compiled_graph else Backend.eager


class NotEnoughMemory(UsageError):
    """Too many runs are to take turns on a device; none of them is trained."""


class GraphError(Exception):
    """A graph could not be recorded, or does not do what it should; nothing on the device can be relied on any more."""


class Precision(StrEnum):
    """The type in which the stages of networks compute; parameters, statistics, heads and losses are always float32."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class Algorithms(StrEnum):
    """Algorithms that give the same bits again on the same machine, or the fastest ones."""

    deterministic = "deterministic"
    fast = "fast"


@dataclass(frozen=True)
class Execution:
    """The choices, which engines pass on to their workers."""

    backend: Backend = Backend.auto
    precision: Precision = Precision.auto
    algorithms: Algorithms = Algorithms.deterministic
    jobs: int = 1
    """Runs that take turns in one process."""

    def arguments(self) -> list[str]:
        """Options of a worker, for the choices that differ from the default."""
        return [f"--{name}={value}" for name, value in vars(self).items() if value != getattr(DEFAULT_EXECUTION, name)]

    @staticmethod
    def add_options(parser: ArgumentParser) -> None:
        """Add these options to a worker's command line."""
        for name, kind in (("backend", Backend), ("precision", Precision), ("algorithms", Algorithms)):
            parser.add_argument(f"--{name}", type=kind, choices=list(kind), default=getattr(DEFAULT_EXECUTION, name))
        parser.add_argument("--jobs", type=int, default=DEFAULT_EXECUTION.jobs)

    @classmethod
    def from_options(cls, options: Namespace) -> Self:
        """Read the options of a worker's command line."""
        return cls(options.backend, options.precision, options.algorithms, options.jobs)


DEFAULT_EXECUTION = Execution()


def let_threads_sleep() -> None:
    """Let waiting OpenMP threads go to sleep soon; to be called before torch is loaded.

    By default they spin, on cores that the threads they wait for may need. That makes a step up to ten times as long
    where other work keeps the cores busy, and no shorter on a quiet machine.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

"""How runs are to be computed: what a person chooses that is no part of what a run is."""

import os
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


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


class Precision(StrEnum):
    """What the stages of networks compute in; parameters, statistics, heads and losses are always float32."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class Algorithms(StrEnum):
    """The same results every time on the same machine, or whatever is fastest."""

    deterministic = "deterministic"
    fast = "fast"


@dataclass(frozen=True)
class Execution:
    """The choices, which engines hand on to their workers."""

    backend: Backend = Backend.auto
    precision: Precision = Precision.auto
    algorithms: Algorithms = Algorithms.deterministic
    jobs: int = 1
    """Runs that take turns in one process."""

    def arguments(self) -> list[str]:
        """What differs from the default, as options of a worker."""
        return [f"--{name}={value}" for name, value in vars(self).items() if value != getattr(DEFAULT, name)]

    @staticmethod
    def add_options(parser: ArgumentParser) -> None:
        """Let a worker's command line have these options."""
        for name, kind in (("backend", Backend), ("precision", Precision), ("algorithms", Algorithms)):
            parser.add_argument(f"--{name}", type=kind, choices=list(kind), default=getattr(DEFAULT, name))
        parser.add_argument("--jobs", type=int, default=DEFAULT.jobs)

    @classmethod
    def from_options(cls, options: Namespace) -> Self:
        """What a worker's command line says."""
        return cls(options.backend, options.precision, options.algorithms, options.jobs)


DEFAULT = Execution()


def let_threads_sleep() -> None:
    """Let OpenMP's threads wait only briefly before they sleep; to be called before torch is loaded.

    As they come, threads spin on the cores that the thread they wait for needs, which takes up to ten times as long
    where other work keeps the cores busy, and is no faster on a quiet machine.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

"""The contract of an engine: it takes jobs, reports what happens to them, and leaves the results in their folders."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from okdbench.plan.jobs import Job
from okdbench.runs.records import Snapshot, State


@dataclass(frozen=True)
class Started:
    """A worker took the job; ``elsewhere`` means that it belongs to another okdbench process and is only watched."""

    job: Job
    elsewhere: bool = False


@dataclass(frozen=True)
class Advanced:
    """The worker wrote new progress."""

    job: Job
    snapshot: Snapshot


@dataclass(frozen=True)
class Ended:
    """No worker has the job any more: it is finished, diverged, failed or interrupted, with a reason in one line."""

    job: Job
    state: State
    reason: str | None = None


@dataclass(frozen=True)
class Restarting:
    """The job's worker has ended because a graph failed; the job waits to continue from its checkpoint."""

    job: Job
    reason: str


@dataclass(frozen=True)
class Stopping:
    """The user asked to stop: no job starts any more and ``workers`` workers are writing their checkpoints."""

    workers: int


Event = Started | Advanced | Ended | Restarting | Stopping
OnEvent = Callable[[Event], None]


class Engine(Protocol):
    """A place where workers run; `okdbench.engines.queue` makes the decisions that all engines share."""

    @property
    def description(self) -> str:
        """Where workers run, how many and how each works: ``cpu: 2 workers with 8 threads each``."""

    def submit(self, jobs: Sequence[Job], on_event: OnEvent) -> None:
        """Bring the jobs to an end and call ``on_event`` from this thread for everything that happens.

        Jobs start in their order, but each only when the jobs that it depends on have ended. A job that fails is
        reported by an event and never stops the others. When the user interrupts, the event `Stopping` comes, running
        jobs end as ``interrupted``, jobs not yet started get no event, and the call returns.
        """

"""What every engine does: take jobs, tell what happens to them, and leave the results in their folders."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from okdbench.files import read_json
from okdbench.plan.jobs import Job
from okdbench.runs.folder import PROGRESS
from okdbench.runs.records import State


@dataclass(frozen=True)
class Snapshot:
    """Where a worker stands, as it wrote it to ``progress.json``; epochs and steps count from 0.

    ``accuracy`` (percent, of head ``head``) is that of the last evaluated epoch, None before the first evaluation;
    ``computed`` says by which backend and in what precision.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float | None
    head: str
    accuracy: float | None
    images_per_second: float
    time: float
    computed: str = ""

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The snapshot in a run's folder; None where there is none or it cannot be read (yet)."""
        try:
            return cls(**read_json(folder / PROGRESS))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def position(self) -> float:
        """Epochs done, counted with fractions."""
        return min(self.epoch + self.step / max(self.steps, 1), self.epochs)


@dataclass(frozen=True)
class Started:
    """A worker took the job; ``elsewhere`` says that it belongs to another okdbench process and is only watched."""

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
class Stopping:
    """The person asked to stop: no job starts any more and ``workers`` workers are writing their checkpoints."""

    workers: int


Event = Started | Advanced | Ended | Stopping
OnEvent = Callable[[Event], None]


class Engine(Protocol):
    """A place where workers run."""

    def submit(self, jobs: Sequence[Job], on_event: OnEvent) -> None:
        """Bring the jobs to an end and call ``on_event`` from this thread for everything that happens.

        Jobs start in their order, but each only when those among them that it comes after have ended.
        A job that fails is told by an event and never stops the others. When the person interrupts, the event
        `Stopping` comes, jobs in work end as ``interrupted``, jobs not yet started get no event, and the call returns.
        """
        ...

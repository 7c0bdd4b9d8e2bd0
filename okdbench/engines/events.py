"""What an engine tells of its jobs."""

from collections.abc import Callable
from dataclasses import dataclass

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
    """The job's worker has ended in a way that another may not; the job waits to continue from its checkpoint."""

    job: Job
    reason: str


@dataclass(frozen=True)
class Stopping:
    """The user asked to stop: no job starts any more and ``workers`` workers are writing their checkpoints.

    ``note`` says, in place of that, which go on without this process.
    """

    workers: int
    note: str = ""


Event = Started | Advanced | Ended | Restarting | Stopping
OnEvent = Callable[[Event], None]

"""The jobs that an engine has not ended yet: which is next, what other processes do, and how each of them ends."""

import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from okdbench.engines.base import Advanced, Ended, OnEvent, Restarting, Started, Stopping
from okdbench.plan.jobs import Job
from okdbench.runs.folder import Exit, RunFolder
from okdbench.runs.records import Fallback, Snapshot, State
from okdbench.runs.reuse import done_duplicate, running_duplicate, take_over

CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE})
"""Signals by which a process ends through a fault of its own; a driver's fault in a graph is seen as one of them."""


class Worker(Protocol):
    """A worker as its engine sees it, such as `subprocess.Popen`."""

    def poll(self) -> int | None:
        """Its exit status (-N after signal N), None while it works."""


_Worker = TypeVar("_Worker", bound=Worker)


@dataclass
class _Active(Generic[_Worker]):
    """A running job: with one of our workers, or, without one, by another okdbench process in ``folder``."""

    job: Job
    worker: _Worker | None
    folder: RunFolder
    since: float = field(default_factory=time.time)
    seen: Snapshot | None = None
    fallback: Fallback | None = None

    def news(self) -> Snapshot | None:
        """Progress not reported yet, without what an earlier worker of the same run left behind."""
        snapshot = self.folder.progress
        if snapshot is None or snapshot == self.seen or (self.worker and snapshot.time < self.since):
            return None
        self.seen = snapshot
        return snapshot

    def why_again(self) -> str:
        """Why the job is to be started again after a graph has failed, its own or that of a run in the same process."""
        now = self.folder.fallback
        if now and now.reason and (not self.fallback or now.reason != self.fallback.reason):
            return f"{now.reason}; continues with {now.backend}"
        return "a graph of another run in its process failed; continues"

    def over(self) -> bool:
        """Return whether nobody works on the job any more."""
        return self.worker.poll() is not None if self.worker else self.folder.state is not State.running


class Queue(Generic[_Worker]):
    """The waiting jobs in their order, and the running ones; true while any job has not ended."""

    def __init__(self, jobs: Sequence[Job], on_event: OnEvent) -> None:
        self._waiting, self._active = deque(jobs), list[_Active[_Worker]]()
        self._on_event = on_event

    def __bool__(self) -> bool:
        return bool(self._waiting or self._active)

    @property
    def workers(self) -> list[_Worker]:
        """The workers that have jobs, each once."""
        return list({id(each.worker): each.worker for each in self._active if each.worker}.values())

    def take(self, most: int) -> list[Job]:
        """Return up to ``most`` jobs to start; the engine then calls `started` or `not_started` with them."""
        jobs: list[Job] = []
        while len(jobs) < most and (job := self._next(jobs)):
            self._waiting.remove(job)
            if taken := _taken_over(job):
                self._on_event(taken)
            elif folder := _trained_elsewhere(job):
                self._active.append(_Active(job, None, folder))
                self._on_event(Started(job, elsewhere=True))
            else:
                jobs.append(job)
        return jobs

    def started(self, jobs: Sequence[Job], worker: _Worker) -> None:
        """Record that jobs just taken have a worker, which has just started."""
        for job in jobs:
            self._active.append(_Active(job, worker, job.folder, fallback=job.folder.fallback))
            self._on_event(Started(job))

    def not_started(self, jobs: Sequence[Job], reason: str) -> None:
        """Record that jobs just taken could not be given to a worker."""
        for job in jobs:
            self._on_event(Ended(job, State.failed, reason))

    def update(self) -> None:
        """Report progress and ends; a watched job that was left undone waits for a worker of ours again."""
        for active in list(self._active):
            over = active.over()
            if snapshot := active.news():
                self._on_event(Advanced(active.job, snapshot))
            if not over:
                continue
            self._active.remove(active)
            state, status = active.job.folder.state, active.worker.poll() if active.worker else None
            left_elsewhere = active.worker is None and not state.done
            if left_elsewhere or (status == Exit.busy and not state.done and state is not State.failed):
                self._waiting.appendleft(active.job)
            elif _graphs_failed(active.job.folder, state, status):
                self._waiting.appendleft(active.job)
                self._on_event(Restarting(active.job, active.why_again()))
            else:
                self._on_event(_end(active.job, status))

    def stop(self) -> None:
        """Forget the jobs that have no worker of ours; the others are about to be interrupted."""
        self._waiting.clear()
        self._active = [active for active in self._active if active.worker]
        self._on_event(Stopping(len(self._active)))

    def stopped(self) -> None:
        """Report how the jobs of interrupted workers have ended."""
        for active in self._active:
            self._on_event(_end(active.job, active.worker.poll() if active.worker else None, stopping=True))
        self._active.clear()

    def _next(self, starting: Sequence[Job]) -> Job | None:
        """Return the first waiting job that need not wait for another to end."""
        unfinished = {job.folder.path for job in (*self._waiting, *starting, *(each.job for each in self._active))}
        for job in self._waiting:
            if not any(job.folder.path.parent / name in unfinished for name in job.config.after):
                return job
        return None


def _taken_over(job: Job) -> Ended | None:
    """Return the end of a job that another recipe has done meanwhile, weights included; None if none has."""
    if job.retrain or job.folder.state is State.running:
        return None
    duplicate = done_duplicate(job.config, job.folder, weights=bool(job.config.datasets))
    state = take_over(duplicate, job.folder) if duplicate else State.pending
    if not duplicate or not state.done:
        return None
    return Ended(job, state, job.folder.reason or f"taken over from {duplicate.recipe}")


def _trained_elsewhere(job: Job) -> RunFolder | None:
    """Return where another process trains the job's run: in its own folder, or in another recipe's."""
    if job.folder.state is State.running:
        return job.folder
    return None if job.retrain else running_duplicate(job.folder)


def _graphs_failed(folder: RunFolder, state: State, status: int | None) -> bool:
    """Whether the worker ended, undone, because of graphs; after a crash nobody but this process can note that."""
    if status is None or state.done or state is State.failed:
        return False
    used = folder.fallback
    if -status in CRASHES and used and used.backend.recorded:
        folder.graphs_failed(used.backend, f"the worker died of {signal.Signals(-status).name}")
        return True
    return status == Exit.graph_failed


def _end(job: Job, status: int | None, stopping: bool = False) -> Ended:
    """How a job has ended whose worker is gone and left this exit status."""
    state = job.folder.state
    if state.done:
        return Ended(job, state, job.folder.reason)
    if state is State.damaged:
        return Ended(job, state, job.folder.reason)
    if state is not State.failed and (stopping or status == Exit.interrupted):
        return Ended(job, State.interrupted, "stopped from outside" if not stopping else None)
    return Ended(job, State.failed, job.folder.reason or _explain(job.folder, status))


def _explain(folder: RunFolder, status: int | None) -> str:
    """Return the reason for a worker that could not leave one."""
    if not folder.path.exists():
        return f"{folder}: was moved or deleted while the run was trained; run again"
    if status == Exit.disk_full:
        return f"disk full: {folder}; make room and give the same command again"
    if status == -signal.SIGKILL:
        return "the worker was killed (SIGKILL); often the machine ran out of memory: try fewer --jobs"
    if status is not None and status < 0:
        return f"the worker died of signal {signal.Signals(-status).name}"
    return f"the worker ended with status {status} and left no record"

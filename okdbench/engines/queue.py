"""The jobs that an engine has not ended yet: which is next, what other processes do, and how each of them ends."""

import signal
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from okdbench.engines.events import Advanced, Ended, OnEvent, Restarting, Started, Stopping
from okdbench.files import DiskFull
from okdbench.plan.jobs import Job
from okdbench.runs.folder import Exit, RunFolder
from okdbench.runs.lease import EXPIRY, LeaseWatch, clear
from okdbench.runs.records import Fallback, Snapshot, State
from okdbench.runs.reuse import done_duplicate, running_duplicate, take_over

CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE})
"""Signals by which a process ends through a fault of its own; a driver's fault in a graph is seen as one of them."""


class Worker(Protocol):
    """A worker as the loop of its engine sees it."""

    def poll(self) -> int | None:
        """Return its exit status (-N after signal N, see `okdbench.runs.folder.Exit`), None while it works or waits."""

    def interrupt(self) -> None:
        """Ask it to write a checkpoint and end; nothing if it has ended."""

    def kill(self) -> None:
        """End it at once, with all its processes; nothing if it has ended."""

    def explain(self) -> str | None:
        """Return in one line what the engine knows about the end of a worker that left no word itself."""


@dataclass(frozen=True)
class Task:
    """What one worker is to do: the runs that it trains in turns, at the place of that number and name.

    ``alone``: a run needs the memory of its place for itself, and no other worker is at a place of that name meanwhile.
    """

    jobs: tuple[Job, ...]
    number: int
    place: str
    alone: bool = False

    @property
    def folders(self) -> list[str]:
        """The runs' folders as words of a command line."""
        return [str(job.folder) for job in self.jobs]


@dataclass(frozen=True)
class Patience:
    """A run whose worker died is tried again ``retries`` times: after ``pause`` seconds, twice that, and so on.

    A worker that does not advance for ``stall_timeout`` seconds (0: never) is ended, and counts as dead.
    """

    retries: int = 2
    pause: float = 10.0
    stall_timeout: float = 1800.0


@dataclass
class _Active:
    """A running job: with one of our workers, or, without one, by another okdbench process in ``folder``."""

    job: Job
    folder: RunFolder
    task: Task | None = None
    worker: Worker | None = None
    since: float = field(default_factory=time.time)
    seen: Snapshot | None = None
    fallback: Fallback | None = None
    begun: bool = True
    frozen: bool = False
    watch: LeaseWatch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = LeaseWatch(self.folder.path)

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
        """Return whether nobody works on the job any more, by what this process has seen."""
        self.watch.look()
        if self.worker:
            return self.worker.poll() is not None
        if self.watch.silent > EXPIRY:
            clear(self.watch)
        return not self.folder.state.under_way

    def end_if_frozen(self, timeout: float) -> None:
        """Kill a worker that gives no sign of life any more; one that can still do anything ends itself before."""
        if self.worker and timeout and self.watch.silent > timeout + EXPIRY and self.worker.poll() is None:
            self.frozen = True
            self.worker.kill()


class Queue:
    """The waiting jobs in their order, and the running ones; true while any job has not ended.

    ``places`` are those of the engine, and ``most`` is how many runs one worker trains in turns. ``queues``: the engine
    has a queue of its own, in which tasks wait, also for the runs that theirs need.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        on_event: OnEvent,
        places: Sequence[str],
        most: int,
        patience: Patience,
        queues: bool = False,
    ) -> None:
        self._waiting, self._active = deque(jobs), list[_Active]()
        self._on_event, self._places, self._most, self._patience = on_event, tuple(places), most, patience
        self._queues = queues
        self._deaths = Counter[Path]()
        self._not_before: dict[Path, float] = {}
        self._alone: dict[Path, str] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting or self._active)

    @property
    def workers(self) -> list[Worker]:
        """The workers that have jobs, each once."""
        return list({id(each.worker): each.worker for each in self._active if each.worker}.values())

    def tasks(self) -> Iterator[Task]:
        """Yield what can start now; the engine's loop then calls `started` or `not_started` with each, in turn."""
        for number, place in enumerate(self._places):
            if not self._waiting:
                return
            here = [each.task for each in self._active if each.task and each.task.place == place]
            if any(task.number == number or task.alone for task in here):
                continue
            alone = [job for job in self._waiting if self._alone.get(job.folder.path) == place]
            if alone and here:
                continue
            others = [job for job in self._waiting if job.folder.path not in self._alone]
            if jobs := self._take(1 if alone else self._most, alone or others):
                yield Task(tuple(jobs), number, place, bool(alone))

    def started(self, task: Task, worker: Worker) -> None:
        """Record that a task has a worker, which has just started."""
        for job in task.jobs:
            begun = not self._queues
            self._active.append(_Active(job, job.folder, task, worker, fallback=job.folder.fallback, begun=begun))
            if begun:
                self._on_event(Started(job))

    def not_started(self, task: Task, reason: str) -> None:
        """Record that a task could not be given to a worker."""
        for job in task.jobs:
            self._on_event(Ended(job, State.failed, reason))

    def update(self) -> None:
        """Report progress and ends; a watched job that was left undone waits for a worker of ours again."""
        for active in list(self._active):
            active.end_if_frozen(self._patience.stall_timeout)
            over, snapshot = active.over(), active.news()
            if not active.begun and (over or snapshot or active.folder.state.under_way):
                active.begun = True
                self._on_event(Started(active.job))
            if snapshot:
                self._on_event(Advanced(active.job, snapshot))
            if not over:
                continue
            self._active.remove(active)
            state, status = active.job.folder.state, active.worker.poll() if active.worker else None
            left_elsewhere = active.worker is None and not state.done
            if left_elsewhere or (status == Exit.busy and not state.done and state is not State.failed):
                self._waiting.appendleft(active.job)
            elif why := self._why_again(active, state, status):
                self._waiting.appendleft(active.job)
                self._on_event(Restarting(active.job, why))
            else:
                self._on_event(_end(active, status))

    def stop(self) -> None:
        """Forget the jobs that have no worker of ours; the others are about to be interrupted."""
        self._waiting.clear()
        self._active = [active for active in self._active if active.worker]
        self._on_event(Stopping(len(self._active)))

    def leave(self, note: str) -> None:
        """Forget all jobs, which go on without this process as the note says."""
        self._waiting.clear()
        self._active.clear()
        self._on_event(Stopping(0, note))

    def stopped(self) -> None:
        """Report how the jobs of interrupted workers have ended."""
        for active in self._active:
            self._on_event(_end(active, active.worker.poll() if active.worker else None, stopping=True))
        self._active.clear()

    def _take(self, most: int, among: Iterable[Job]) -> list[Job]:
        """Return up to ``most`` jobs to start, after setting aside those that other processes do or have done."""
        jobs, among = list[Job](), list(among)
        while len(jobs) < most and (job := self._next(among, jobs)):
            among.remove(job)
            self._waiting.remove(job)
            if taken := _taken_over(job):
                self._on_event(taken)
            elif folder := _trained_elsewhere(job):
                self._active.append(_Active(job, folder))
                self._on_event(Started(job, elsewhere=True))
            else:
                jobs.append(job)
        return jobs

    def _next(self, among: Sequence[Job], starting: Sequence[Job]) -> Job | None:
        """Return the first waiting job that need not wait, for another to end or for a while."""
        active = [each.job for each in self._active if not (self._queues and each.worker)]
        unfinished = {job.folder.path for job in (*self._waiting, *starting, *active)}
        now = time.monotonic()
        for job in among:
            path = job.folder.path
            if self._not_before.get(path, now) > now:
                continue
            if not any(path.parent / name in unfinished for name in job.config.after):
                return job
        return None

    def _why_again(self, active: _Active, state: State, status: int | None) -> str | None:
        """Return why the job, which its worker has left, is tried again; None if it is not."""
        folder = active.job.folder
        if status is None or active.task is None or state.done or state is State.damaged or not folder.path.exists():
            return None
        failure = folder.failure
        if failure and failure.out_of_memory and folder.path not in self._alone:
            self._alone[folder.path] = active.task.place
            return f"{failure.error}; continues alone on {active.task.place}"
        if failure or status in (Exit.interrupted, Exit.disk_full):
            return None
        if _graphs_failed(folder, status):
            return active.why_again()
        self._deaths[folder.path] += 1
        if (number := self._deaths[folder.path]) > self._patience.retries:
            return None
        pause = self._patience.pause * 2 ** (number - 1)
        self._not_before[folder.path] = time.monotonic() + pause
        return f"{_explain(active, status)}; retry {number} of {self._patience.retries} in {pause:.0f} s"


def _taken_over(job: Job) -> Ended | None:
    """Return the end of a job that another recipe has done meanwhile, weights included; None if none has."""
    if job.retrain or job.folder.state.under_way:
        return None
    duplicate = done_duplicate(job.config, job.folder, weights=bool(job.config.datasets))
    state = take_over(duplicate, job.folder) if duplicate else State.pending
    if not duplicate or not state.done:
        return None
    return Ended(job, state, job.folder.reason or f"taken over from {duplicate.recipe}")


def _trained_elsewhere(job: Job) -> RunFolder | None:
    """Return where another process trains the job's run: in its own folder, or in another recipe's."""
    if job.folder.state.under_way:
        return job.folder
    return running_duplicate(job.folder)


def _graphs_failed(folder: RunFolder, status: int) -> bool:
    """Whether the worker ended, undone, because of graphs; after a crash nobody but this process can note that."""
    used = folder.fallback
    if -status in CRASHES and used and used.backend.recorded:
        folder.graphs_failed(used.backend, f"the worker died of {signal.Signals(-status).name}")
        return True
    return status == Exit.graph_failed


def _end(active: _Active, status: int | None, stopping: bool = False) -> Ended:
    """How a job has ended whose worker is gone and left this exit status."""
    job, state = active.job, active.job.folder.state
    if state.done or state is State.damaged:
        return Ended(job, state, job.folder.reason)
    if state is not State.failed and (stopping or status == Exit.interrupted):
        return Ended(job, State.interrupted, "stopped from outside" if not stopping else None)
    reason = job.folder.reason
    if not reason:
        reason = _explain(active, status)
        if job.folder.path.exists():
            with suppress(OSError, DiskFull):
                job.folder.write_failure(reason)
    return Ended(job, State.failed, reason)


def _explain(active: _Active, status: int | None) -> str:
    """Return the reason for a worker that could not leave one."""
    if not active.folder.path.exists():
        return f"{active.folder}: was moved or deleted while the run was trained; run again"
    if active.frozen:
        return "the worker gave no sign of life (--stall-timeout) and was killed"
    if status == Exit.stalled:
        return "the run did not advance (--stall-timeout); the log says where it stood"
    if status == Exit.disk_full:
        return f"disk full: {active.folder}; make room and give the same command again"
    if active.worker and (known := active.worker.explain()):
        return known
    if status is not None and status < 0:
        return f"the worker died of signal {signal.Signals(-status).name}"
    return f"the worker ended with status {status} and left no record"

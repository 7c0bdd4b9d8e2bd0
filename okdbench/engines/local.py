"""Worker processes on this machine, several at a time."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from okdbench.engines.base import Advanced, Ended, OnEvent, Snapshot, Started, Stopping
from okdbench.files import write_json
from okdbench.plan.jobs import Job
from okdbench.runs.execution import DEFAULT, Execution
from okdbench.runs.folder import CONFIG, FAILURE, Exit
from okdbench.runs.records import DONE, State, read_failure, read_record, state
from okdbench.runs.reuse import done_twin, running_twin, take_over

WORKER = (sys.executable, "-m", "okdbench.worker")


def usable_cores() -> int:
    """CPU cores that this process may use (fewer than the machine has under taskset or a container's cpuset)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Signals:
    """Counts requests to stop (Ctrl-C, kill, closed terminal) instead of letting them break the loop anywhere."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self.count += 1

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Handle the signals here within this context (main thread only)."""
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants it ignored
            numbers.append(signal.SIGHUP)
        previous = {number: signal.signal(number, self) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


@dataclass
class Worker:
    """A job in work: its process, or None where another okdbench process trains it in ``folder`` and we only watch."""

    job: Job
    process: subprocess.Popen[bytes] | None
    folder: Path
    seen: Snapshot | None = None
    since: float = field(default_factory=time.time)

    def news(self) -> Snapshot | None:
        """Progress not told yet; what a former worker of the same run left behind is not news."""
        snapshot = Snapshot.read(self.folder)
        if snapshot is None or snapshot == self.seen or (self.process and snapshot.time < self.since):
            return None
        self.seen = snapshot
        return snapshot

    def over(self) -> bool:
        """Whether nobody works on the job any more."""
        if self.process is None:
            return state(self.folder) != "running"
        return self.process.poll() is not None


class LocalEngine:
    """``parallel`` workers at a time, which share the cores evenly; each of them is ``processes`` processes.

    A worker does as many runs in turns as ``execution`` says, and ends when the last of them has ended. ``data`` is the
    data folder, ``device`` a torch device that every worker uses (its processes: a GPU each from that one on),
    ``execution`` how they compute, ``command`` the worker program and ``poll`` the seconds between two looks at the
    workers' files.
    """

    def __init__(
        self,
        data: Path,
        device: str,
        parallel: int = 1,
        command: Sequence[str] = WORKER,
        poll: float = 0.2,
        processes: int = 1,
        execution: Execution = DEFAULT,
    ) -> None:
        self.parallel, self.processes = parallel, processes
        self.threads = max(1, usable_cores() // (parallel * processes))
        self._options = ["--data", str(data), "--device", device, "--threads", str(self.threads)]
        self._options += ["--processes", str(processes)] if processes > 1 else []
        self._options += execution.arguments()
        self._together = execution.jobs
        self._command = list(command)
        self._poll = poll

    def submit(self, jobs: Sequence[Job], on_event: OnEvent) -> None:
        """Run the jobs in order, ``parallel`` at a time; see `Engine.submit`.

        The first signal (Ctrl-C, SIGTERM, SIGHUP) lets every worker write its checkpoint, the second kills them.
        """
        waiting, active, signals = deque(jobs), list[Worker](), Signals()
        with signals.caught():
            try:
                while waiting or active:
                    if signals.count:
                        self._stop(active, signals, on_event)
                        break
                    self._fill(waiting, active, on_event)
                    time.sleep(self._poll)
                    self._look(waiting, active, on_event)
            finally:
                _interrupt(active)
                _wait(active)

    def _fill(self, waiting: deque[Job], active: list[Worker], on_event: OnEvent) -> None:
        """Start workers for waiting jobs.

        What another recipe has done by now is taken over; what another process trains takes no place and is watched.
        """
        while len(_processes(active)) < self.parallel:
            jobs: list[Job] = []
            while len(jobs) < self._together and (job := _next(waiting, active, jobs)):
                waiting.remove(job)
                if taken := _taken_over(job):
                    on_event(taken)
                elif place := _in_work(job):
                    active.append(Worker(job, None, place))
                    on_event(Started(job, elsewhere=True))
                else:
                    jobs.append(job)
            if not jobs:
                break
            try:
                active += self._start(jobs)
            except OSError as error:
                for job in jobs:
                    on_event(Ended(job, "failed", f"the worker could not be started: {error}"))
            else:
                for job in jobs:
                    on_event(Started(job))

    def _start(self, jobs: Sequence[Job]) -> list[Worker]:
        """Start a worker in a session of its own, so that a Ctrl-C in the terminal reaches it only through us, once."""
        for job in jobs:
            job.folder.mkdir(parents=True, exist_ok=True)
            write_json(job.folder / CONFIG, job.config.model_dump(mode="json"))
            (job.folder / FAILURE).unlink(missing_ok=True)
        since = time.time()
        with jobs[0].log.open("ab") as log:
            process = subprocess.Popen(
                [*self._command, *(str(job.folder) for job in jobs), *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return [Worker(job, process, job.folder, since=since) for job in jobs]

    def _look(self, waiting: deque[Job], active: list[Worker], on_event: OnEvent) -> None:
        """Tell progress and ends; a job that we watched until it was left undone, or done elsewhere, is ours again."""
        for worker in list(active):
            over = worker.over()
            if snapshot := worker.news():
                on_event(Advanced(worker.job, snapshot))
            if not over:
                continue
            active.remove(worker)
            now = state(worker.job.folder)
            left_elsewhere = worker.process is None and now not in DONE
            busy = worker.process is not None and worker.process.returncode == Exit.busy
            if left_elsewhere or (busy and now not in DONE and now != "failed"):
                waiting.appendleft(worker.job)
            else:
                on_event(_end(worker, now))

    def _stop(self, active: list[Worker], signals: Signals, on_event: OnEvent) -> None:
        """Interrupt the workers and wait for their checkpoints; kill them if the person asks again."""
        ours = [worker for worker in active if worker.process]
        active[:] = ours
        on_event(Stopping(len(ours)))
        _interrupt(ours)
        patience = signals.count
        while any(not worker.over() for worker in ours):
            if signals.count > patience:
                _kill(ours)
            time.sleep(self._poll)
        for worker in ours:
            on_event(_end(worker, state(worker.job.folder), stopping=True))


def _processes(workers: Sequence[Worker]) -> list[subprocess.Popen[bytes]]:
    """Those of our own workers, each once."""
    return list({id(worker.process): worker.process for worker in workers if worker.process}.values())


def _next(waiting: Sequence[Job], active: Sequence[Worker], starting: Sequence[Job]) -> Job | None:
    """The first job that need not wait for another to end."""
    unfinished = {job.folder for job in (*waiting, *starting)} | {worker.job.folder for worker in active}
    for job in waiting:
        if not any(job.folder.parent / name in unfinished for name in job.config.after):
            return job
    return None


def _taken_over(job: Job) -> Ended | None:
    """The end of a job that another recipe has done meanwhile, weights and all; None where there is no such thing."""
    if job.anew or state(job.folder) == "running":
        return None
    twin = done_twin(job.config, job.folder, weights=bool(job.config.datasets))
    now = take_over(twin, job.folder) if twin else None
    if not twin or now not in DONE:
        return None
    return Ended(job, now, read_record(job.folder).get("reason") or f"taken over from {twin.parent.name}")


def _in_work(job: Job) -> Path | None:
    """Where another process trains the job's run: in its own folder, or in another recipe's."""
    if state(job.folder) == "running":
        return job.folder
    return None if job.anew else running_twin(job.folder)


def _end(worker: Worker, now: State, stopping: bool = False) -> Ended:
    """What became of a job whose worker is gone and whose files say ``now``."""
    if now in DONE:
        return Ended(worker.job, now, read_record(worker.job.folder).get("reason"))
    status = worker.process.returncode if worker.process else None
    if now != "failed" and (stopping or status == Exit.interrupted):
        return Ended(worker.job, "interrupted", "stopped from outside" if not stopping else None)
    return Ended(worker.job, "failed", read_failure(worker.job.folder) or _explain(status))


def _explain(status: int | None) -> str:
    """The reason where the worker could not leave one."""
    if status == -signal.SIGKILL:
        return "the worker was killed (SIGKILL); often the machine ran out of memory: try fewer --jobs"
    if status is not None and status < 0:
        return f"the worker died of signal {signal.Signals(-status).name}"
    return f"the worker ended with status {status} and left no record"


def _interrupt(workers: Sequence[Worker]) -> None:
    """SIGINT to each process that still runs."""
    for process in _processes(workers):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)


def _kill(workers: Sequence[Worker]) -> None:
    """SIGKILL to each process that still runs, and to whatever it started."""
    for process in _processes(workers):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def _wait(workers: Sequence[Worker]) -> None:
    """Leave no process behind."""
    for process in _processes(workers):
        process.wait()

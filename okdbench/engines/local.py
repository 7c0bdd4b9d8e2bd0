"""Worker processes on this machine, several at a time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from okdbench.engines.base import OnEvent
from okdbench.engines.queue import Queue
from okdbench.files import DiskFull
from okdbench.plan.jobs import Job
from okdbench.runs.execution import DEFAULT_EXECUTION, Execution
from okdbench.runs.launch import worker_environment
from okdbench.worker import WorkerOptions

WORKER = (sys.executable, "-P", "-m", "okdbench.worker")
Process = subprocess.Popen[bytes]


def usable_cores() -> int:
    """CPU cores that this process may use (fewer than the machine has under taskset or a container's cpuset)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Signals:
    """Counts requests to stop (Ctrl-C, kill, closed terminal), so that they do not interrupt the loop.

    A terminal that is closed may be told more than once, by the system and by the shell, and is one request.
    """

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if number != signal.SIGHUP or not self.count:
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


class LocalEngine:
    """``parallel`` workers at a time, which share the cores evenly; each of them is ``processes`` processes.

    A worker trains as many runs in turns as ``execution`` says, and ends when the last of them has ended. ``data`` is
    the data folder, ``device`` a torch device that every worker uses (several processes: one GPU each, starting with
    that one), ``execution`` how they compute, ``command`` the worker program and ``poll`` the seconds between two
    checks of the workers' files.
    """

    def __init__(
        self,
        data: Path,
        device: str,
        parallel: int = 1,
        command: Sequence[str] = WORKER,
        poll: float = 0.2,
        processes: int = 1,
        execution: Execution = DEFAULT_EXECUTION,
    ) -> None:
        threads = max(1, usable_cores() // (parallel * processes))
        self._options = WorkerOptions(data, device, threads, processes if processes > 1 else 0, execution)
        self._parallel, self._command, self._poll = parallel, command, poll

    @property
    def description(self) -> str:
        """Device, workers, processes, threads and runs in turns."""
        options = self._options
        text = f"{options.device}: {self._parallel} worker" + ("s" if self._parallel > 1 else "")
        text += f" of {options.processes} processes" if options.processes else ""
        text += f" with {options.threads} thread" + ("s each" if options.threads > 1 else " each")
        return text + (f", {options.execution.jobs} runs in turns" if options.execution.jobs > 1 else "")

    def submit(self, jobs: Sequence[Job], on_event: OnEvent) -> None:
        """Run the jobs in order, ``parallel`` at a time; see `Engine.submit`.

        The first signal (Ctrl-C, SIGTERM, SIGHUP) lets every worker write its checkpoint, the second kills them.
        """
        queue, signals = Queue[Process](jobs, on_event), Signals()
        with signals.caught():
            try:
                while queue and not signals.count:
                    self._fill(queue)
                    time.sleep(self._poll)
                    queue.update()
                if queue:
                    self._stop(queue, signals)
            finally:
                _interrupt(queue.workers)
                for worker in queue.workers:
                    worker.wait()

    def _fill(self, queue: Queue[Process]) -> None:
        """Start workers for waiting jobs."""
        most = self._options.execution.jobs
        while len(queue.workers) < self._parallel and (jobs := queue.take(most)):
            try:
                worker = self._start(jobs)
            except (OSError, DiskFull) as error:
                queue.not_started(jobs, f"the worker could not be started: {error}")
            else:
                queue.started(jobs, worker)

    def _start(self, jobs: Sequence[Job]) -> Process:
        """Start a worker in a session of its own, so that a Ctrl-C in the terminal reaches it only through us, once."""
        for job in jobs:
            job.folder.write_config(job.config)
        with jobs[0].folder.log.open("ab") as log:
            return subprocess.Popen(
                [*self._command, *(str(job.folder) for job in jobs), *self._options.arguments()],
                env=worker_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _stop(self, queue: Queue[Process], signals: Signals) -> None:
        """Interrupt the workers and wait for their checkpoints; kill them if the user asks again."""
        queue.stop()
        _interrupt(queue.workers)
        while any(worker.poll() is None for worker in queue.workers):
            if signals.count > 1:  # perhaps already when this begins
                _kill(queue.workers)
            time.sleep(self._poll)
        queue.stopped()


def _interrupt(workers: Sequence[Process]) -> None:
    """SIGINT to each worker that still runs."""
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(signal.SIGINT)


def _kill(workers: Sequence[Process]) -> None:
    """SIGKILL to each worker that still runs, and to the processes that it started."""
    for worker in workers:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)

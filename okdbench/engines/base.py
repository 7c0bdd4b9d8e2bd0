"""The contract of an engine: it starts workers at its places; everything else is the same for all engines.

A worker is a process ``python -m okdbench.worker RUN_DIR... OPTIONS`` somewhere. What it does is seen in the files of
its runs' folders, and nowhere else.
"""

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

from okdbench.engines.events import OnEvent
from okdbench.engines.queue import Patience, Queue, Task, Worker
from okdbench.errors import UsageError
from okdbench.plan.jobs import Job


class Engine(ABC):
    """A place where workers run.

    An engine says which ``places`` it has and starts a worker at one of them. ``runs_per_worker`` is how many runs one
    worker trains in turns, ``poll`` the seconds between two looks at the workers and their files, and ``patience``
    when a worker is given up and how often its run is tried again. ``queues``: it has a queue of its own, in which
    tasks wait, also for the runs that theirs need, so that it is given all at once.
    """

    queues = False
    runs_per_worker = 1
    poll = 0.2
    patience = Patience()

    @property
    @abstractmethod
    def description(self) -> str:
        """Where workers run, how many and how each works: ``cpu: 2 workers with 8 threads each``."""

    @property
    @abstractmethod
    def places(self) -> Sequence[str]:
        """A name for each worker that can run at the same time, such as its device.

        Workers at places of one name share something of which a run may need all: one that ran out of memory is tried
        again while no other worker is at a place of that name.
        """

    @abstractmethod
    def start(self, task: Task) -> Worker:
        """Start ``python -m okdbench.worker`` on the folders of the task's jobs, and return without waiting for it.

        Each folder exists and holds the configuration. What the worker prints is to be added to the first folder's
        log. Raise OSError or UsageError where it cannot be started: the task's jobs fail, and others go on.
        """

    def prepare(self, planned: int, todo: Sequence[Job]) -> list[str]:
        """Decide what depends on the runs: the number of all that were asked for, and the jobs that are left.

        It is called once, before `submit`. Return what the user should know, in lines.
        """
        return []

    def connected(self) -> AbstractContextManager[object]:
        """Return the context in which workers are started and watched, such as the connection to a cluster."""
        return nullcontext()

    def batch(self) -> AbstractContextManager[object]:
        """Return the context in which workers are started that can start now, for engines that start many at once."""
        return nullcontext()

    def submit(self, jobs: Sequence[Job], on_event: OnEvent) -> None:
        """Bring the jobs to an end and call ``on_event`` from this thread for everything that happens.

        Jobs start in their order, but each only when the jobs that it depends on have ended. A job that fails is
        reported by an event and never stops the others. On the first signal (Ctrl-C, SIGTERM, SIGHUP) the event
        `Stopping` comes, running jobs write a checkpoint and end as ``interrupted``, jobs not yet started get no
        event, and the call returns; the second signal kills the workers.
        """
        queue = Queue(jobs, on_event, self.places, self.runs_per_worker, self.patience, self.queues)
        signals = Signals()
        with signals.caught(), self.connected():
            try:
                while queue and not signals.count:
                    with self.batch():
                        self._fill(queue)
                    time.sleep(self.poll)
                    queue.update()
                if queue:
                    self._stop(queue, signals)
            finally:
                for worker in queue.workers:
                    worker.interrupt()
                while any(worker.poll() is None for worker in queue.workers):
                    time.sleep(self.poll)

    def _fill(self, queue: Queue) -> None:
        """Start workers for waiting jobs."""
        for task in queue.tasks():
            try:
                for job in task.jobs:
                    job.folder.write_config(job.config)
                worker = self.start(task)
            except (OSError, UsageError) as error:
                queue.not_started(task, f"the worker could not be started: {error}")
            else:
                queue.started(task, worker)

    def _stop(self, queue: Queue, signals: "Signals") -> None:
        """Interrupt the workers and wait for their checkpoints; kill them if the user asks again."""
        queue.stop()
        for worker in queue.workers:
            worker.interrupt()
        while any(worker.poll() is None for worker in queue.workers):
            if signals.count > 1:  # perhaps already when this begins
                for worker in queue.workers:
                    worker.kill()
            time.sleep(self.poll)
        queue.stopped()


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

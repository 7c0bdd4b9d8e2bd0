"""Worker processes on this machine, several at a time."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from okdbench.engines.base import Engine
from okdbench.engines.queue import Patience, Task
from okdbench.files import open_to_append
from okdbench.runs.execution import DEFAULT_EXECUTION, Execution
from okdbench.runs.launch import worker_environment
from okdbench.worker import WorkerOptions

WORKER = (sys.executable, "-P", "-m", "okdbench.worker")


def usable_cores() -> int:
    """CPU cores that this process may use (fewer than the machine has under taskset or a container's cpuset)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LocalEngine(Engine):
    """``parallel`` workers at a time (None: one for each device), which share the cores evenly.

    They are dealt to the ``devices`` in turn. Each is ``processes`` processes, on GPUs from the worker's device on, and
    trains as many runs in turns as ``execution`` says. ``data`` is the data folder, ``execution`` how runs are
    computed, ``command`` the worker program and ``poll`` the seconds between two checks of the workers' files.
    """

    def __init__(
        self,
        data: Path,
        devices: Sequence[str] = ("cpu",),
        parallel: int | None = None,
        command: Sequence[str] = WORKER,
        poll: float = 0.2,
        processes: int = 1,
        execution: Execution = DEFAULT_EXECUTION,
        patience: Patience = Engine.patience,
    ) -> None:
        self._devices, self._parallel = tuple(devices), parallel or len(devices)
        self._threads = max(1, usable_cores() // (self._parallel * processes))
        self._data, self._command, self._execution = data, command, execution
        self._processes = processes if processes > 1 else 0
        self.poll, self.patience, self.runs_per_worker = poll, patience, execution.jobs

    @property
    def description(self) -> str:
        """Devices, workers, processes, threads and runs in turns."""
        text = f"{', '.join(self._devices)}: {self._parallel} worker" + ("s" if self._parallel > 1 else "")
        text += f" of {self._processes} processes" if self._processes else ""
        text += f" with {self._threads} thread" + ("s each" if self._threads > 1 else " each")
        return text + (f", {self.runs_per_worker} runs in turns" if self.runs_per_worker > 1 else "")

    @property
    def places(self) -> list[str]:
        """The device of each worker."""
        return [self._devices[number % len(self._devices)] for number in range(self._parallel)]

    def start(self, task: Task) -> "LocalWorker":
        """Start a worker process on the task's device."""
        options = WorkerOptions(self._data, task.place, self._threads, self._processes, self._execution)
        with open_to_append(task.jobs[0].folder.log) as log:
            return LocalWorker([*self._command, *task.folders, *options.arguments()], log.fileno())


class LocalWorker:
    """A worker process in a session of its own, so that a Ctrl-C in the terminal reaches it only through us, once."""

    def __init__(self, words: Sequence[str], log: int) -> None:
        self._process = subprocess.Popen(
            words,
            env=worker_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def poll(self) -> int | None:
        """The exit status, -N after signal N."""
        return self._process.poll()

    def interrupt(self) -> None:
        """SIGINT, if it still runs."""
        if self.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL, if it still runs, also to the processes that it started."""
        if self.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def explain(self) -> str | None:
        """What often is behind a SIGKILL."""
        if self.poll() == -signal.SIGKILL:
            return "the worker was killed (SIGKILL); often the machine ran out of memory: try fewer --jobs"
        return None

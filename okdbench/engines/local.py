"""Worker processes on this machine, several at a time."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from okdbench.config import RunConfig
from okdbench.engines.base import Engine
from okdbench.engines.queue import Patience, Task
from okdbench.engines.registry import EngineKind, Request
from okdbench.errors import UsageError
from okdbench.files import open_to_append
from okdbench.plan.jobs import Job, find_devices
from okdbench.runs.execution import DEFAULT_EXECUTION, Execution
from okdbench.runs.folder import RunFolder
from okdbench.runs.launch import worker_environment
from okdbench.runs.watchdog import exit_status
from okdbench.words import count
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
        self._data, self._command, self._execution = data, command, execution
        self._processes = processes if processes > 1 else 0
        self.poll, self.patience, self.runs_per_worker = poll, patience, execution.jobs

    @property
    def description(self) -> str:
        """Devices, workers, processes, threads and runs in turns."""
        text = f"{', '.join(self._devices)}: {count(self._parallel, 'worker')}"
        text += f" of {self._processes} processes" if self._processes else ""
        text += f" with {count(self.threads, 'thread')} each"
        return text + (f", {self.runs_per_worker} runs in turns" if self.runs_per_worker > 1 else "")

    @property
    def threads(self) -> int:
        """The threads of each process."""
        return max(1, usable_cores() // (self._parallel * max(self._processes, 1)))

    @property
    def places(self) -> list[str]:
        """The device of each worker."""
        return [self._devices[number % len(self._devices)] for number in range(self._parallel)]

    def prepare(self, planned: int, todo: Sequence[Job]) -> list[str]:
        """See `Engine.prepare`."""
        notes = []
        if not self.runs_per_worker:
            self.runs_per_worker, note = _most_in_turns(todo, self._data, self._devices[0], self._execution)
            self._execution = replace(self._execution, jobs=self.runs_per_worker)
            notes += [note] if note else []
        # By all runs, not those that are left, so that the same command gives each of them the same number of threads.
        self._parallel = min(self._parallel, -(-planned // self.runs_per_worker))
        self._devices = self._devices[: self._parallel]
        if self._parallel > len(self._devices) and self._devices != ("cpu",) and not _mps_runs():
            instead = f"rather use --jobs-per-device {self._parallel}"
            notes.append(f"without NVIDIA MPS the GPU serves one worker at a time; {instead}")
        return notes

    def start(self, task: Task) -> "LocalWorker":
        """Start a worker process on the task's device."""
        options = WorkerOptions(
            self._data, task.place, self.threads, self._processes, self._execution, self.patience.stall_timeout
        )
        return start_worker(task.folders, options, self._command)


def start_worker(folders: Sequence[str], options: WorkerOptions, command: Sequence[str] = WORKER) -> "LocalWorker":
    """Start a worker process on this machine, which prints to the first folder's log; raise OSError if it cannot."""
    with open_to_append(RunFolder(Path(folders[0])).log) as log:
        return LocalWorker([*command, *folders, *options.arguments()], log.fileno())


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
        code = self._process.poll()
        return None if code is None else exit_status(code)

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


def _mps_runs() -> bool:
    """Return whether NVIDIA's multi-process service runs, with which kernels of several processes share a GPU."""
    return Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"), "control").exists()


def _most_in_turns(todo: Sequence[Job], data: Path, device: str, execution: Execution) -> tuple[int, str]:
    """Return how many runs in turns train the most images per second, measured on the first that can start.

    The text says what was measured, if anything was.
    """
    import torch

    from okdbench.bench import TimedRun
    from okdbench.bench.sharing import tune_jobs_per_device

    for job in todo:
        if isinstance(job.config, RunConfig) and not job.config.teacher:
            run = TimedRun(job.config, data, torch.device(device), execution=replace(execution, jobs=1))
            jobs, rates = tune_jobs_per_device(run)
            if not rates:
                return jobs, ""
            gain = rates[jobs] / rates[min(rates)]
            return jobs, f"--jobs-per-device {jobs}: {gain:.2f} times the images of one run at a time ({job.title})"
    return 1, ""


def _make(request: Request) -> LocalEngine:
    """Return the engine; raise UsageError for settings, or a device or way to compute that is not there."""
    import torch

    from okdbench.training.computation import require_supported

    if request.settings:
        raise UsageError(f"--engine local: has no settings; leave out {', '.join(request.settings)}")
    devices = find_devices(request.device, request.processes)
    for device in devices:
        require_supported(request.execution, torch.device(device))
    return LocalEngine(
        request.data,
        devices,
        request.parallel,
        processes=request.processes,
        execution=request.execution,
        patience=request.patience,
    )


ENGINE = EngineKind("local", _make, lambda: f"{usable_cores()} of {os.cpu_count()} cores usable")

"""Workers as Slurm jobs: an array of them is submitted at once, and a student's job waits in Slurm for its teacher's.

A job whose time is over, or that is preempted, writes its checkpoint and is queued again. Jobs go on when the command
that submitted them ends; the same command finds them in the queue and watches them again.
"""

import getpass
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

from okdbench.engines.base import Engine, Signals
from okdbench.engines.events import OnEvent
from okdbench.engines.local import WORKER, LocalWorker, start_worker
from okdbench.engines.queue import Queue, Task
from okdbench.engines.registry import EngineKind, Request, installed, of_extra
from okdbench.errors import UsageError
from okdbench.files import read_json, write_json
from okdbench.plan.jobs import Job, find_device
from okdbench.runs.folder import Exit, RunFolder
from okdbench.worker import WorkerOptions

FOLDER = ".slurm"
"""The folder below the results folder with the scripts and logs of jobs, and which job has which runs."""
_FAULTS = ("BOOT_FAIL", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT")
_OVER = frozenset({"COMPLETED", "CANCELLED", *_FAULTS})
"""Slurm's states of jobs that have ended for good; a requeued job is pending again."""
_OURS: dict[str, Any] = {"requeue": True, "signal": "USR2@120"}
"""Options of sbatch unless the user gives others: queue again, and leave time for a checkpoint before the limit."""
_MOST = 1000
"""Jobs of an array; one more is Slurm's own default limit."""
_ATTEMPTS = 4
"""Workers of one job, where one ends in a way that the next may not."""
_INTERVAL = 0.2


class SlurmEngine(Engine):
    """Slurm, as seen from a machine that has its commands.

    The settings are long options of sbatch (``partition``, ``time``, ``gres``), and ``setup``, lines of shell that a
    job executes first.
    """

    queues = True
    poll = 5.0

    def __init__(self, request: Request, command: Sequence[str] = WORKER) -> None:
        self._submitit = of_extra("slurm", "submitit")
        self.runs_per_worker = request.execution.jobs
        if not self.runs_per_worker:
            raise UsageError("--jobs-per-device auto: is measured on this machine; with --engine slurm give a number")
        self._results, self._room = request.results.absolute(), 1
        self._sbatch = _OURS | {name.replace("-", "_"): value for name, value in request.settings.items()}
        self._executor = self._make_executor(self._sbatch.pop("setup", []), request.parallel or _MOST)
        processes = request.processes if request.processes > 1 else 0
        self.patience = request.patience
        stall_timeout = self.patience.stall_timeout
        options = WorkerOptions(request.data.absolute(), request.device, 0, processes, request.execution, stall_timeout)
        self._on_node = OnNode(options, self.folder, command)
        self._collected: list[SlurmWorker] = []
        self._jobs_of: dict[Path, set[str]] = {}
        self._states: dict[str, str] | None = None
        self._looked = 0.0

    def _make_executor(self, setup: str | list[str], parallel: int) -> Any:
        """Return what submits jobs; raise UsageError where it cannot."""
        _require_commands()
        if "time" not in self._sbatch:
            places = 'with --engine-option time=04:00:00, or as time = "04:00:00" in [engine.slurm] of okdbench.toml'
            raise UsageError(f"--engine slurm: give the time limit of a job, {places}; longer runs continue after it")
        # Several runs end in a time-out many times; and nothing is imported from the current folder.
        slurm = self._submitit.SlurmExecutor(self.folder, max_num_timeout=10**6, python=f"{quote(sys.executable)} -P")
        lines = ["export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}"]  # srun does not inherit it from sbatch
        lines += [setup] if isinstance(setup, str) else setup
        slurm.update_parameters(setup=lines, array_parallelism=parallel, wckey=None)
        return slurm

    @property
    def folder(self) -> Path:
        """The folder of the jobs' scripts and logs."""
        return self._results / FOLDER

    @property
    def description(self) -> str:
        """Partition and time limit."""
        said = (f"{name} {self._sbatch[name]}" for name in ("partition", "time") if name in self._sbatch)
        return f"Slurm, {', '.join(said)}"

    @property
    def places(self) -> Sequence[str]:
        """One for each job, because all are queued at once."""
        return [f"job {number + 1}" for number in range(self._room)]

    def submit(self, jobs: Sequence[Job], on_event: OnEvent) -> None:
        """See `Engine.submit`; on a signal the jobs are left to Slurm."""
        self._room = len(jobs)
        super().submit(jobs, on_event)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Find the jobs that are in the queue from before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob("*.json"):
            for identifier, runs in read_json(path).items():
                if self.state(identifier) not in _OVER:
                    self._remember(identifier, [self._results / run for run in runs])
        yield

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Submit the tasks that were started meanwhile: those that need the same other runs as one array."""
        self._collected = []
        yield
        arrays: dict[tuple[Path, ...], list[SlurmWorker]] = {}
        for worker in self._collected:
            arrays.setdefault(worker.after, []).append(worker)
        for after, workers in arrays.items():
            for first in range(0, len(workers), _MOST):
                self._submit(workers[first : first + _MOST], after)

    def start(self, task: Task) -> "SlurmWorker":
        """Let `batch` submit those runs of the task that are not in the queue from before."""
        paths = [job.folder.path.absolute() for job in task.jobs]
        queued = {path: self._queued(path) for path in paths}
        worker = SlurmWorker(self, task, set().union(*queued.values()), [path for path in paths if not queued[path]])
        if worker.folders:
            self._collected.append(worker)
        return worker

    def state(self, identifier: str) -> str:
        """Return the state of a job in Slurm's words; COMPLETED where Slurm has forgotten it."""
        if self._states is None or time.monotonic() - self._looked > self.poll:
            self._states, self._looked = self._ask(), time.monotonic()
        return "UNKNOWN" if self._states is None else self._states.get(identifier, "COMPLETED")

    def _ask(self) -> dict[str, str] | None:
        """Return the states of the user's jobs; what was known where Slurm does not answer."""
        words = ["squeue", "--noheader", "--array", "--states=all", f"--user={getpass.getuser()}", "--format=%i %T"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return self._states if done.returncode else dict(line.split(maxsplit=1) for line in done.stdout.splitlines())

    def _queued(self, path: Path) -> set[str]:
        """Return the jobs that have the run of this folder and have not ended."""
        return {identifier for identifier in self._jobs_of.get(path, ()) if self.state(identifier) not in _OVER}

    def _remember(self, identifier: str, paths: Sequence[Path]) -> None:
        for path in paths:
            self._jobs_of.setdefault(path, set()).add(identifier)

    def _submit(self, workers: Sequence["SlurmWorker"], after: Sequence[Path]) -> None:
        """Submit an array; where sbatch refuses the first one, that is a mistake of the user's."""
        sbatch = dict(self._sbatch)
        if needed := sorted(identifier for path in after for identifier in self._queued(path)):
            sbatch |= {"dependency": f"afterok:{':'.join(needed)}", "kill_on_invalid_dep": "yes"}
        name = f"okdbench-{workers[0].folders[0].parent.name}"
        self._executor.update_parameters(job_name=name, additional_parameters=sbatch)
        try:
            with redirect_stderr(io.StringIO()):  # submitit repeats there what it raises
                jobs = self._executor.map_array(self._on_node, [worker.folders for worker in workers])
        except self._submitit.core.utils.FailedJobError as error:
            reason = next(iter(str(error).strip().splitlines()), "sbatch failed")
            if not self._jobs_of:
                raise UsageError(f"--engine slurm: {reason}; see the section [engine.slurm] of okdbench.toml") from None
            for worker in workers:
                worker.refused = reason
            return
        runs = {}
        for worker, job in zip(workers, jobs, strict=True):
            worker.identifiers.add(job.job_id)
            self._remember(job.job_id, worker.folders)
            runs[job.job_id] = [str(path.relative_to(self._results)) for path in worker.folders]
        write_json(self.folder / f"{jobs[0].job_id.partition('_')[0]}.json", runs)
        self._states = None

    def _stop(self, queue: Queue, signals: Signals) -> None:
        """Leave the jobs to Slurm."""
        jobs = {identifier for paths in self._jobs_of for identifier in self._queued(paths)}
        numbers = " ".join(sorted({identifier.partition("_")[0] for identifier in jobs}))
        ways = f"the same command watches them again, scancel {numbers} ends them"
        queue.leave(f"{len(jobs)} Slurm jobs go on: {ways}" if jobs else "")


@dataclass
class SlurmWorker:
    """The Slurm jobs of a task; ``folders`` are those of the runs for which one is submitted."""

    engine: SlurmEngine
    task: Task
    identifiers: set[str]
    folders: list[Path]
    refused: str | None = None
    left: bool = False

    @property
    def after(self) -> tuple[Path, ...]:
        """The folders of the runs that those of the task need."""
        runs = ((job.folder.path.absolute().parent, name) for job in self.task.jobs for name in job.config.after)
        return tuple(sorted({folder / name for folder, name in runs}))

    def poll(self) -> int | None:
        """The exit status that the jobs have written."""
        if self.left or self.refused or not self.identifiers:
            return Exit.interrupted if self.left else Exit.failed
        states = [self.engine.state(identifier) for identifier in self.identifiers]
        if any(state not in _OVER for state in states):
            return None
        if "CANCELLED" in states:
            return Exit.failed if self._lacking else Exit.interrupted
        return max(_read_status(self.engine.folder, identifier) for identifier in self.identifiers)

    def interrupt(self) -> None:
        """Leave the jobs to Slurm."""
        self.left = True

    def kill(self) -> None:
        """Let Slurm end the jobs that run, and queue them again."""
        for identifier in self.identifiers:
            if self.engine.state(identifier) == "RUNNING":
                subprocess.run(["scontrol", "requeue", identifier], capture_output=True, check=False)

    @property
    def _lacking(self) -> list[str]:
        """The runs that those of the task need and that are not done: then Slurm itself cancels their jobs."""
        return [path.name for path in self.after if not RunFolder(path).state.done]

    def explain(self) -> str | None:
        """What Slurm says of the jobs."""
        if not self.refused and (lacking := self._lacking):
            return f"{', '.join(lacking)}, which it needs, has not ended well"
        states = (f"{each} ended as {self.engine.state(each)}" for each in sorted(self.identifiers))
        return self.refused or f"Slurm job {', '.join(states)}; its log is in {self.engine.folder}"


@dataclass
class OnNode:
    """What a job does on its node: it starts a worker, and stops it in time when the job is to end.

    submitit calls it, and ``checkpoint`` when the signal comes that announces the end; it then queues the job again.
    """

    options: WorkerOptions
    folder: Path
    command: Sequence[str] = WORKER
    worker: LocalWorker | None = None

    def __call__(self, folders: Sequence[Path]) -> None:
        """Train the runs of these folders; the exit status of the job, by which others wait for it, is the worker's."""
        import submitit

        threads = int(os.environ.get("SLURM_CPUS_PER_TASK", "1"))
        processes = max(self.options.processes, 1)
        try:
            device = find_device(self.options.device, processes)
        except UsageError as error:
            for folder in folders:
                RunFolder(folder).write_failure(str(error))
            sys.exit(Exit.failed)
        options = replace(self.options, device=device, threads=max(1, threads // processes))
        file = _status_file(self.folder, submitit.JobEnvironment().job_id)
        file.unlink(missing_ok=True)
        for _ in range(_ATTEMPTS):
            self.worker = start_worker([str(folder) for folder in folders], options, self.command)
            status = self._wait(self.worker)
            if status not in (Exit.graph_failed, Exit.stalled):
                break
        file.write_text(str(status))
        sys.exit(status)

    def checkpoint(self, folders: Sequence[Path]) -> Any:
        """Let the worker write its checkpoint; return what to do when the job continues."""
        import submitit

        if self.worker:
            self.worker.interrupt()
            if (status := self._wait(self.worker)) != Exit.interrupted:
                sys.exit(status)
        return submitit.helpers.DelayedSubmission(replace(self, worker=None), folders)

    def _wait(self, worker: LocalWorker) -> int:
        while (status := worker.poll()) is None:
            time.sleep(_INTERVAL)
        return status


def _status_file(folder: Path, identifier: str) -> Path:
    return folder / f"{identifier}.status"


def _read_status(folder: Path, identifier: str) -> int:
    """Return the exit status of a job's worker; that of a failure where the job was ended before it wrote one."""
    with suppress(OSError, ValueError):
        return int(_status_file(folder, identifier).read_text())
    return Exit.failed


def _require_commands() -> None:
    missing = [name for name in ("sbatch", "squeue", "srun", "scancel") if not shutil.which(name)]
    if missing:
        raise UsageError(f"--engine slurm: {missing[0]}: no such command; give the command on a login node of Slurm")


def _find() -> str:
    package = installed("slurm", "submitit")
    _require_commands()
    done = subprocess.run(["sbatch", "--version"], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise UsageError(
            f"--engine slurm: sbatch --version fails ({reason}); give the command on a login node of Slurm"
        )
    return f"{done.stdout.strip()}, {package}"


ENGINE = EngineKind("slurm", SlurmEngine, _find)

"""Workers on the nodes of a Ray cluster: one Ray task for each run, which Ray starts again where a node is lost.

All nodes have okdbench, and the images under the same path. The results folder is one that they share; where they do
not (``shared = false``), a run's files are sent to its node and brought back when its worker ends.
"""

import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from okdbench.engines.base import Engine
from okdbench.engines.local import LocalWorker, start_worker
from okdbench.engines.queue import Task
from okdbench.engines.registry import EngineKind, Request, installed, of_extra
from okdbench.errors import UsageError, did_you_mean
from okdbench.files import atomic_write
from okdbench.plan.jobs import Job, find_device
from okdbench.runs.folder import RECORD, Exit
from okdbench.runs.lease import PREFIX, Lease, LeaseLost, take
from okdbench.words import count
from okdbench.worker import WorkerOptions

_STORE = 100 * 2**20
"""Bytes of memory for objects where Ray is started here: nothing but a run's files ever passes through it."""
_NONE_HERE = "Could not find any running Ray instance"
"""How the message of Ray begins where there is no cluster on this machine, and nothing is wrong with that."""
_INTERVAL = 0.2


class RaySettings(BaseModel):
    """The section ``[engine.ray]`` of ``okdbench.toml``.

    ``address`` is that of a cluster (HOST:PORT or ray://HOST:PORT), else RAY_ADDRESS, else a cluster that runs on this
    machine, else one is started on it. ``cpus`` is the number of CPU cores for each run, ``retries`` how often Ray
    starts a run again whose node is lost, ``shared`` whether the nodes see the results folder, and ``resources`` what
    else a node must have, as Ray's own resources.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    address: str | None = None
    cpus: int | None = Field(default=None, ge=1)
    retries: int = Field(default=3, ge=0)
    shared: bool = True
    resources: dict[str, float] = Field(default_factory=dict)


class RayEngine(Engine):
    """A connection to a cluster, which ends with `submit`."""

    poll = 1.0

    def __init__(self, request: Request) -> None:
        installed("ray", "ray")
        self._settings = _checked(request.settings)
        self.patience = request.patience
        if request.execution.jobs == 0:
            raise UsageError("--jobs-per-device auto: is measured on this machine; with --engine ray give a number")
        if address := self._settings.address or os.environ.get("RAY_ADDRESS"):
            _require_answer(address)
        # Ray prints long paragraphs where a node is lost, and colours them in a file, too; it is read when Ray loads.
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
        with _silenced():
            self._ray = of_extra("ray", "ray")
            _connect(self._ray, address)
        total = self._ray.cluster_resources()
        self._gpus = _gpus_of_run(request, total.get("GPU", 0))
        cpus = int(total.get("CPU", 1))
        room = (
            int(total["GPU"] / self._gpus + 1e-6) if self._gpus else cpus // (self._settings.cpus or request.processes)
        )
        self._parallel = request.parallel or max(1, room)
        self._cpus = self._settings.cpus or max(1, cpus // self._parallel if self._gpus else request.processes)
        self._options = WorkerOptions(
            request.data.absolute(),
            request.device,
            max(1, self._cpus // request.processes),
            request.processes if request.processes > 1 else 0,
            replace(request.execution, jobs=1),
            self.patience.stall_timeout,
        )

    @property
    def description(self) -> str:
        """Nodes, runs at a time, and what each of them has."""
        nodes = sum(node["Alive"] for node in self._ray.nodes())
        gpus = f" and {self._gpus:.3g} GPU" if self._gpus else ""
        each = f"{count(self._cpus, 'CPU core')}{gpus} each"
        return f"Ray ({count(nodes, 'node')}): {self._parallel} at a time with {each}"

    @property
    def places(self) -> Sequence[str]:
        """Each of its own, because Ray keeps apart what tasks have."""
        return [f"Ray {number + 1}" for number in range(self._parallel)]

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Leave the cluster at the end, and stop it if it was started here."""
        try:
            yield
        finally:
            self._ray.shutdown()

    def start(self, task: Task) -> "RayWorker":
        """Submit a Ray task; a run that needs the memory of a GPU for itself gets the whole GPU."""
        [job] = task.jobs
        remote = self._ray.remote(
            num_cpus=self._cpus,
            num_gpus=max(self._gpus, 1) if task.alone and self._gpus else self._gpus,
            resources=self._settings.resources or None,
            max_retries=self._settings.retries,
        )(train)
        variables = {name: value for name, value in os.environ.items() if name.startswith(("OKDBENCH_", "PYTHONPATH"))}
        files = lease = None
        if not self._settings.shared:
            lease = take(job.folder.path)
            if not lease:
                raise UsageError(f"{job.folder}: another process has just begun to train it")
            lease.decide()
            files = _files_for(job)
        place = job.folder.path.absolute()
        return RayWorker(self._ray, remote.remote(str(place), self._options, variables, files), job, lease)


@dataclass
class RayWorker:
    """A worker that a Ray task starts; where the task brings the run's files, this process holds the ``lease``."""

    ray: Any
    task: Any
    job: Job
    lease: Lease | None
    status: int | None = field(default=None, init=False)
    reason: str | None = field(default=None, init=False)

    def poll(self) -> int | None:
        """The exit status of the worker; what Ray reports instead becomes the reason of a failure."""
        if self.status is None and self.ray.wait([self.task], timeout=0)[0]:
            self.status = self._end()
            if self.lease:
                self.lease.release()
        elif self.lease and self.status is None:
            self.lease.progressed()  # whether it does is seen on the node
        return self.status

    def interrupt(self) -> None:
        """Cancel the task, which interrupts the worker and waits for it."""
        if self.poll() is None:
            self.ray.cancel(self.task, force=False)

    def kill(self) -> None:
        """Let Ray kill the task."""
        if self.poll() is None:
            self.ray.cancel(self.task, force=True)

    def explain(self) -> str | None:
        """What Ray said."""
        return self.reason

    def _end(self) -> int:
        errors = self.ray.exceptions
        try:
            ended: TaskEnd = self.ray.get(self.task)
        except errors.TaskCancelledError:
            return Exit.interrupted
        except errors.RayTaskError as error:
            self.reason = _line(error.cause)
            if isinstance(error.cause, UsageError):
                self.job.folder.write_failure(self.reason)
            return Exit.failed
        except errors.RayError as error:
            self.reason = f"Ray: {_line(error)}"
            return Exit.failed
        try:
            if self.lease:
                self.lease.require(at_once=True)
        except LeaseLost:
            return Exit.busy
        for name, content in sorted(ended.files.items(), key=lambda item: item[0] == RECORD):
            with atomic_write(self.job.folder.path / name, "wb") as file:
                file.write(content)
        return ended.status


@dataclass(frozen=True)
class TaskEnd:
    """What a task returns: the worker's exit status and, where they are to be brought back, the run's files."""

    status: int
    files: Mapping[str, bytes]


def train(
    place: str, options: WorkerOptions, variables: Mapping[str, str], files: Mapping[str, bytes] | None
) -> TaskEnd:
    """On a node: start a worker for the run of the folder ``place`` and wait for it.

    ``variables`` are added to its environment. ``files``, by their path below the results folder, are written to a
    temporary one, and those of the run are returned.
    """
    os.environ |= variables
    folder = Path(place)
    with ExitStack() as temporary:
        if files is not None:
            root = Path(temporary.enter_context(tempfile.TemporaryDirectory(prefix="okdbench-")))
            folder = root / folder.parent.name / folder.name
            for name, content in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
        elif not folder.is_dir():
            raise UsageError(
                f"{folder}: is not on the node {socket.gethostname()}; put the results folder on storage that all "
                "nodes share, or set shared = false in the section [engine.ray] of okdbench.toml"
            )
        options = replace(options, device=find_device(options.device, max(options.processes, 1)))
        status = _waited_for(start_worker([str(folder)], options))
        return TaskEnd(status, {} if files is None else _files_in(folder))


def _waited_for(worker: LocalWorker) -> int:
    """Return the exit status; Ray cancels a task by KeyboardInterrupt, which a blocking wait would not see."""
    try:
        while (status := worker.poll()) is None:
            time.sleep(_INTERVAL)
    except KeyboardInterrupt:
        worker.interrupt()
        while (status := worker.poll()) is None:
            time.sleep(_INTERVAL)
    return status


def _files_for(job: Job) -> dict[str, bytes]:
    """Return what a worker reads: the files of the run so far, and those of the runs that it needs."""
    folders = [job.folder.path, *(job.folder.path.parent / name for name in job.config.after)]
    return {
        f"{folder.parent.name}/{folder.name}/{name}": content
        for folder in folders
        for name, content in _files_in(folder).items()
    }


def _files_in(folder: Path) -> dict[str, bytes]:
    paths = folder.iterdir() if folder.is_dir() else ()
    return {path.name: path.read_bytes() for path in paths if path.is_file() and not path.name.startswith(PREFIX)}


def _checked(settings: Mapping[str, Any]) -> RaySettings:
    known = RaySettings.model_fields
    if unknown := [name for name in settings if name not in known]:
        problems = (f"--engine ray: {name}: is no setting of it; {did_you_mean(name, known)}" for name in unknown)
        raise UsageError("\n".join(problems))
    try:
        return RaySettings.model_validate(dict(settings))
    except ValidationError as error:
        wrong = (f"--engine ray: {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise UsageError("\n".join(wrong)) from None


def _gpus_of_run(request: Request, available: float) -> float:
    """Return the GPUs, or the part of one, for each run; 0 trains on CPUs."""
    if request.device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {request.device}: with --engine ray, Ray chooses the GPU; give auto, cuda or cpu")
    if request.device == "cuda" and not available:
        raise UsageError("--device cuda: the Ray cluster has no GPU; give cpu")
    if request.device == "cpu" or not available:
        return 0
    return request.processes if request.processes > 1 else 1 / request.execution.jobs


def _connect(ray: Any, address: str | None) -> None:
    """Connect to a cluster, or start one on this machine where there is none and no address was given."""
    if ray.is_initialized():
        return
    quiet = {"log_to_driver": False, "configure_logging": False}
    try:
        ray.init(address=address or "auto", **quiet)
    except (Exception, SystemExit) as error:
        if address or not str(error).startswith(_NONE_HERE):
            remedy = "if the cluster asks for a token, set RAY_AUTH_MODE=token"
            where = address or "the cluster on this machine"
            raise UsageError(f"--engine ray: cannot connect to {where} ({_line(error)}); {remedy}") from None
        ray.init(address="local", include_dashboard=False, object_store_memory=_STORE, **quiet)


@contextmanager
def _silenced() -> Iterator[None]:
    """Drop what is written to this process's error output, also by libraries in C++; errors are raised besides."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _require_answer(address: str) -> None:
    """Raise UsageError if nothing listens at an address, which Ray itself would find out in minutes."""
    match = re.fullmatch(r"(?:ray://)?\[?([^/\]]+)\]?:(\d+)", address)
    if not match:
        raise UsageError(f"--engine ray: {address}: is no address of a cluster; give HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((match[1], int(match[2])), timeout=10).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"--engine ray: no cluster answers at {address} ({reason}); start one with `ray start --head`, or correct "
            "the address"
        ) from None


def _line(error: BaseException | None) -> str:
    """The first line of an error."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _find() -> str:
    return f"{installed('ray', 'ray')}; cluster: {os.environ.get('RAY_ADDRESS') or 'found or started by run'}"


ENGINE = EngineKind("ray", RayEngine, _find)

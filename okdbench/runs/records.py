"""The contents of a run's files: one model each, which writers and readers share. Unknown keys are ignored."""

import math
import os
import platform
import time
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator
from typing_extensions import TypedDict

from okdbench.config import Configuration, LearningConfig, RunConfig
from okdbench.runs.execution import Backend
from okdbench.runs.machine import machine, start_of, still_runs
from okdbench.words import count

SCHEMA = 2
"""Version of ``record.json``, stored there under "schema"; the first version had no such key."""

Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
NotNegative = Annotated[Finite, Field(ge=0)]
MOST_PERCENT = 100.01
"""Sums of float32 may exceed 100 by their rounding."""
Percent = Annotated[Finite, Field(ge=0, le=MOST_PERCENT)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Number = Annotated[int, Field(strict=True, ge=0)]


class State(StrEnum):
    """Where a run stands."""

    finished = "finished"
    diverged = "diverged"
    failed = "failed"
    interrupted = "interrupted"
    running = "running"
    stalled = "stalled"
    """Somebody works on it, but it does not advance."""
    pending = "pending"
    damaged = "damaged"
    """The record, or the metrics that it speaks of, are not what a worker has written."""

    @property
    def done(self) -> bool:
        """Whether the run has a record and nothing is left to do."""
        return self in (State.finished, State.diverged)

    @property
    def under_way(self) -> bool:
        """Whether a process works on the run."""
        return self in (State.running, State.stalled)


class Cause(StrEnum):
    """Why a run diverged."""

    collapsed = "collapsed"
    """Its logits went to zero."""
    not_finite = "not-finite"
    """A loss or a metric was not a finite number."""


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class HeadMetrics(_Stored):
    """One head after one epoch; accuracies and calibration error in percent. Further metrics are kept."""

    model_config = ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, Finite] = Field(init=False)
    top1: Percent
    top5: Percent
    ce: Finite
    ece: Percent
    max_logit: Finite


class Epoch(_Stored):
    """A line of ``metrics.jsonl``: an epoch, counted from 0, with the metrics of every head on the test images.

    ``validation`` has those on the images held out of training, where there are any.
    """

    epoch: Number
    lr: Finite
    losses: dict[str, Finite]
    heads: dict[str, HeadMetrics]
    validation: dict[str, HeadMetrics] | None = None
    seconds: NotNegative
    images_per_second: NotNegative


AtLeastOne = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]


class Environment(TypedDict, total=False):
    """On what a run was computed; other keys are kept, and records of earlier versions lack some."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]

    okdbench: str
    git_commit: str | None
    git_dirty: bool | None
    plugins: dict[str, str]
    python: str
    torch: str
    torchvision: str
    numpy: str
    cuda: str | None
    cudnn: int | None
    tf32_convolutions: bool
    platform: str
    device: str
    device_name: str
    threads: AtLeastOne
    backend: str
    backend_note: str | None
    precision: str
    algorithms: str
    jobs: AtLeastOne
    processes: AtLeastOne
    images_sha256: Sha256 | None
    earlier: list["Environment"]
    """What was otherwise with processes that began the run: of each, the entries that the last one has not."""


class DoneRecord(_Stored):
    """``record.json``: what a run of any kind leaves when it is done.

    ``epochs`` counts the lines of metrics, and ``metrics_sha256`` is the hash of their file.
    """

    id: str
    status: Literal[State.finished, State.diverged]
    cause: Cause | None = None
    reason: str | None = None
    config: Configuration
    epochs: Number = 0
    metrics_sha256: Sha256 | None = None
    environment: Environment
    wall_seconds: NotNegative

    @property
    def turns(self) -> int:
        """How many runs took turns in its process, itself included."""
        return self.environment.get("jobs", 1)

    @property
    def hours(self) -> float:
        """Hours that it took of its device: of runs in turns, an equal share for each."""
        return self.wall_seconds / self.turns / 3600


class LearnedRecord(DoneRecord):
    """The record of a run that learns; ``deployed`` is the head to deploy."""

    config: LearningConfig
    heads: tuple[str, ...]
    deployed: str
    epochs: Number
    images_per_second: NotNegative | None = None
    peak_memory_bytes: Number | None = None
    weights_sha256: Sha256 | None = None

    @property
    def compute_summary(self) -> str:
        """Device and computation: ``NVIDIA H200, graph, bfloat16, deterministic algorithms``; "" where not recorded.

        Of a CPU also the number of threads, without which its hours say little. A run that was begun otherwise has
        both, one after the other.
        """
        last = dict(self.environment)
        told = [_computed(last | dict(earlier)) for earlier in self.environment.get("earlier", ())]
        return ", then ".join(dict.fromkeys(filter(None, [*told, _computed(last)])))


def _computed(environment: dict[str, Any]) -> str:
    """Return device and computation in words, "" where they are not recorded."""
    parts = [environment.get(name) for name in ("device_name", "backend", "precision", "algorithms")]
    if not all(parts):
        return ""
    how = ", ".join(map(str, parts)) + " algorithms"
    threads = environment.get("threads") if environment.get("device") == "cpu" else None
    how += f", {count(threads, 'thread')}" if threads else ""
    # Each process normalises its own part of a batch, so their number is part of how a run was computed.
    return how + (f", {environment['processes']} processes" if environment.get("processes", 1) > 1 else "")


class Record(LearnedRecord):
    """The record of a training."""

    config: RunConfig


class Snapshot(_Stored):
    """``progress.json``: where a worker stands; epochs and steps count from 0.

    ``accuracy`` (percent, of ``head``) is that of the last evaluated epoch, None before the first evaluation; a loss
    that is not finite is None. ``compute_summary`` names backend and precision.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float | None
    head: str
    accuracy: float | None
    images_per_second: float
    time: float
    compute_summary: str = ""

    @field_validator("loss")
    @classmethod
    def _finite(cls, value: float | None) -> float | None:
        return None if value is None or not math.isfinite(value) else value

    @property
    def position(self) -> float:
        """Epochs done, counted with fractions."""
        return min(self.epoch + self.step / max(self.steps, 1), self.epochs)


class Failure(_Stored):
    """``failure.json``: the error that ended the last attempt, in one line, and when (seconds since 1970).

    ``out_of_memory``: there was too little memory, perhaps because of other runs.
    """

    error: str = "unknown error"
    time: float | None = None
    out_of_memory: bool = False


class Heartbeat(_Stored):
    """A lease: the process that works on the run, on ``host`` since ``since`` (seconds since 1970, by its clock).

    ``machine``, ``pid`` and ``start`` identify it. ``number`` counts its heartbeats, ``idle`` is how long the run had
    not advanced at the last one, in seconds. ``decided``: it will do the run, whatever other recipes do; ``released``:
    it works no more.
    """

    host: str = "another machine"
    machine: str = ""
    pid: int = 0
    start: str = ""
    since: float = 0.0
    number: int = 0
    idle: float = 0.0
    decided: bool = False
    released: bool = False

    @classmethod
    def of_this_process(cls) -> Self:
        """Return the one before the first."""
        pid = os.getpid()
        return cls(host=platform.node(), machine=machine(), pid=pid, start=start_of(pid), since=time.time())

    @property
    def is_here(self) -> bool:
        """Whether the process is, or was, on this machine."""
        return self.machine == machine()

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to have ended; of one on another machine nothing is known."""
        return self.is_here and not still_runs(self.pid, self.start)


class FirstAttempt(_Stored):
    """``attempt.json``: what a run keeps of its first attempt, because other numbers would change its weights."""

    threads: Annotated[int, Field(strict=True, ge=1)]


class Fallback(_Stored):
    """``backend.json``: the backend that records graphs of a run, or with which it continues since they failed.

    ``reason`` says in one line why they failed, and is empty until then.
    """

    backend: Backend
    reason: str


def migrated(content: dict[str, Any]) -> dict[str, Any]:
    """Return a record of an earlier version as this version writes it; raise ValueError if the version is not known."""
    version = content.get("schema", 1)
    if version == 1:
        collapsed = str(content.get("reason")).startswith("collapsed")
        diverged = Cause.collapsed if collapsed else Cause.not_finite
        return {**content, "cause": diverged if content["status"] == State.diverged else None}
    if version != SCHEMA:
        raise ValueError(f"schema {version}, but this version of okdbench knows up to {SCHEMA}; upgrade okdbench")
    return content

"""Reading what runs leave on disk. Nothing here writes, and a half-written last line never stops a report."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from okdbench.config import Configuration, RunConfig
from okdbench.errors import UsageError
from okdbench.files import read_json
from okdbench.runs.folder import CHECKPOINTS, CONFIG, FAILURE, METRICS, RECORD, in_work

State = Literal["finished", "diverged", "running", "failed", "interrupted", "pending"]
DONE: tuple[State, ...] = ("finished", "diverged")
"""States in which a record is there and nothing is left to do."""
COLLAPSED = "collapsed"
"""How the reason of a run begins that ended because its logits had gone to zero."""
_RECORD_REMEDY = "delete it and run again"
_Done = TypeVar("_Done", bound="DoneRecord")


class DoneRecord(BaseModel):
    """``record.json``: what a run of any kind says of itself once it is done; its presence means done."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    status: Literal["finished", "diverged"]
    reason: str | None = None
    config: Configuration
    environment: dict[str, Any]
    wall_seconds: float


class Record(DoneRecord):
    """The record of a training: ``epochs`` is the number of them recorded, ``deployed`` the head one would ship."""

    config: RunConfig
    heads: tuple[str, ...]
    deployed: str
    epochs: int
    images_per_second: float | None = None
    peak_memory_bytes: int | None = None
    weights_sha256: str | None = None

    @property
    def computed(self) -> str:
        """On what and how: ``NVIDIA H200, graph, bfloat16, deterministic algorithms``; "" where it was not told yet."""
        told = self.environment
        if "backend" not in told:
            return ""
        how = f"{told['device_name']}, {told['backend']}, {told['precision']}, {told['algorithms']} algorithms"
        # Each process normalises its own part of a batch, so their number is part of how a run was computed.
        return how + (f", {told['processes']} processes" if told.get("processes", 1) > 1 else "")


@dataclass(frozen=True)
class StoredRun:
    """A run's folder as read: ``metrics`` has a dictionary per epoch, in order; ``record`` is there once it is done."""

    folder: Path
    state: State
    config: RunConfig
    record: Record | None
    metrics: tuple[dict[str, Any], ...]


def state(folder: Path) -> State:
    """Where the run in ``folder`` stands, from its files alone; "pending" where the folder does not exist."""
    return _state(folder, _record(folder))


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a run that is done, as written; UsageError where it is absent or damaged."""
    path = folder / RECORD
    record = _read(path, _RECORD_REMEDY)
    if record.get("status") not in ("finished", "diverged"):
        raise UsageError(f"{path}: damaged (status is neither finished nor diverged); {_RECORD_REMEDY}")
    return record


def read_config(folder: Path) -> RunConfig:
    """The resolved configuration that the engine wrote; UsageError where it is absent or damaged."""
    path = folder / CONFIG
    remedy = "delete the folder and run again"
    try:
        return RunConfig.model_validate(_read(path, remedy))
    except ValidationError as error:
        raise UsageError(f"{path}: not a valid configuration ({_first(error)}); {remedy}") from None


def read_metrics(folder: Path) -> tuple[dict[str, Any], ...]:
    """One dictionary per finished epoch, in order; empty where the run has not finished an epoch.

    The last line may be torn (the run was killed while it wrote) and is then left out. UsageError for any other damage:
    a line that is no JSON, or epochs that do not count 0, 1, 2, ...
    """
    path = folder / METRICS
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return ()
    epochs: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            complete = entry["epoch"] == number - 1 and all("top1" in head for head in entry["heads"].values())
        except (ValueError, TypeError, KeyError, AttributeError):
            complete = False
        if complete:
            epochs.append(entry)
        elif number < len(lines) or _is_json(line):
            raise UsageError(f"{path}: line {number} is not the metrics of epoch {number - 1}; run again with --force")
    return tuple(epochs)


def read_failure(folder: Path) -> str | None:
    """The error that stopped the run's last attempt, in one line; None where none did."""
    path = folder / FAILURE
    return str(_read(path, "delete it and run again").get("error", "unknown error")) if path.exists() else None


def read_run(folder: Path) -> StoredRun:
    """All that a report needs of one run; UsageError where a file is damaged or a done run's metrics are short."""
    now, done = read_done(folder)
    return done or StoredRun(folder, now, read_config(folder), None, read_metrics(folder))


def read_done(folder: Path) -> tuple[State, StoredRun | None]:
    """Where a run stands and, once it is done, the run; UsageError as in `read_run`."""
    content = _record(folder)
    now = _state(folder, content)
    if content is None:
        return now, None
    record, metrics = _checked(content, folder, Record), read_metrics(folder)
    if len(metrics) != record.epochs:
        path = folder / METRICS
        raise UsageError(f"{path}: {len(metrics)} epochs, but the record says {record.epochs}; run again with --force")
    return now, StoredRun(folder, now, record.config, record, metrics)


def checked_record(folder: Path, kind: type[_Done]) -> _Done:
    """The record with every field that a report relies on; UsageError where one is absent or contradicts another."""
    return _checked(read_record(folder), folder, kind)


def _checked(content: dict[str, Any], folder: Path, kind: type[_Done]) -> _Done:
    """What a record says; UsageError where it lacks something or belongs to another folder."""
    path = folder / RECORD
    try:
        record = kind.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{path}: not a valid record ({_first(error)}); {_RECORD_REMEDY}") from None
    if record.id != record.config.id:
        raise UsageError(f"{path}: id {record.id}, but its configuration's is {record.config.id}; {_RECORD_REMEDY}")
    if not folder.name.endswith(f".{record.id}"):
        raise UsageError(f"{path}: is the record of run {record.id}, not of this folder; move it to its own folder")
    return record


def _record(folder: Path) -> dict[str, Any] | None:
    """The record as written, None where the run is not done."""
    return read_record(folder) if (folder / RECORD).exists() else None


def _state(folder: Path, record: dict[str, Any] | None) -> State:
    """Where a run stands that has this record."""
    if record is not None:
        done: State = record["status"]
        return done
    if in_work(folder):
        return "running"
    if (folder / FAILURE).exists():
        return "failed"
    started = (folder / METRICS).exists() or any(folder.glob(CHECKPOINTS))
    return "interrupted" if started else "pending"


def _read(path: Path, remedy: str) -> dict[str, Any]:
    """A JSON object from ``path``."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; {remedy}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: damaged ({error}); {remedy}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: damaged (not a JSON object); {remedy}")
    return content


def _is_json(line: bytes) -> bool:
    """A whole JSON object: such a line was not torn, so it is wrong in another way."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _first(error: ValidationError) -> str:
    """The first of pydantic's complaints, in one line."""
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {problem['msg']}" if place else str(problem["msg"])

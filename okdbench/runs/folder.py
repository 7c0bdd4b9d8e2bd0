"""A run's folder, RESULTS/RECIPE/RUN: its files and its state, and how the worker that writes it ends.

The engine writes ``config.json``, the resolved configuration. The worker holds a lease (``lease.N``), adds a line for
each epoch to ``metrics.jsonl``, and writes ``progress.json`` (where it stands), ``checkpoint-STEPS.pt`` (where to
continue), ``failure.json`` (why the last attempt failed), ``backend.json`` (how to continue after a graph has
failed), ``attempt.json`` (the number of threads), ``weights.pt`` (the final weights), ``log.txt`` (all that it
printed) and, only when the run is done, ``record.json``.
`okdbench.runs.records` describes the contents.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from okdbench import kinds
from okdbench.config import Configuration
from okdbench.errors import UsageError
from okdbench.files import append_line, atomic_write, clear_temporaries, read_json, write_json
from okdbench.runs import metrics
from okdbench.runs.execution import Backend
from okdbench.runs.hashes import read_with_hash, sha256_of
from okdbench.runs.lease import Holder, holder
from okdbench.runs.memory import Memory
from okdbench.runs.records import (
    SCHEMA,
    DoneRecord,
    Epoch,
    Failure,
    Fallback,
    FirstAttempt,
    LearnedRecord,
    Snapshot,
    State,
    migrated,
)
from okdbench.words import count

CONFIG, METRICS, RECORD, WEIGHTS = "config.json", "metrics.jsonl", "record.json", "weights.pt"
CHECKPOINTS, PROGRESS, FAILURE, LOG = "checkpoint-*.pt", "progress.json", "failure.json", "log.txt"
BACKEND, ATTEMPT = "backend.json", "attempt.json"
MEASUREMENTS = "bench"
"""RESULTS/bench holds timings instead of runs, with one folder for each device."""

STALLED = 300.0
"""Seconds without progress after which a run under way counts as stalled."""
_DELETE, _FORCE = "delete it and run again", "run again with --force"
ASK = "ask its sender for the file, or run it again"
"""The remedy in somebody else's folder."""
_RECORDS = Memory[Any]()
_Model = TypeVar("_Model", bound=BaseModel)
_Done = TypeVar("_Done", bound=DoneRecord)


class Exit(IntEnum):
    """Exit statuses of a worker."""

    done = 0
    """The record is written, finished or diverged."""
    failed = 1
    interrupted = 75
    """Stopped from outside; a training has written a checkpoint."""
    busy = 76
    """Another process does the run."""
    graph_failed = 77
    """A CUDA graph failed, and the process is of no use any more. The run's folder says with which backend to continue;
    all runs of the process that are not done are to be started again."""
    disk_full = 78
    """Failed, and the disk may have had no room for a file that says why."""
    stalled = 79
    """The run did not advance; the log says where the process stood."""


@dataclass(frozen=True)
class RunFolder:
    """One run on disk. Files are read when asked for; a damaged one raises UsageError with its name and a remedy.

    ``sent``: it is somebody else's, who alone can mend it.
    """

    path: Path
    sent: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def recipe(self) -> str:
        """The name of the recipe whose folder this is in."""
        return self.path.parent.name

    @property
    def exists(self) -> bool:
        """Whether the folder holds a run."""
        return (self.path / CONFIG).exists() or (self.path / RECORD).exists()

    @property
    def started(self) -> bool:
        """Whether a worker has left anything of the run."""
        return any((self.path / name).exists() for name in (RECORD, METRICS, FAILURE)) or bool(self.checkpoints)

    @property
    def state(self) -> State:
        """Where the run stands, from its files alone; pending where the folder does not exist."""
        try:
            if record := self.record:
                self._require_metrics(record)
                return record.status
        except UsageError:
            return State.damaged
        if found := self.holder:
            return State.stalled if found.idle > STALLED else State.running
        if (self.path / FAILURE).exists():
            return State.failed
        return State.interrupted if (self.path / METRICS).is_file() or self.checkpoints else State.pending

    @property
    def reason(self) -> str | None:
        """Why the run diverged, why its last attempt failed, or what is damaged and what to do, in one line."""
        try:
            if record := self.record:
                self._require_metrics(record)
                return record.reason
        except UsageError as error:
            return str(error)
        return failure.error if (failure := self.failure) else None

    @property
    def config(self) -> Configuration:
        """The resolved configuration, of the model of its kind."""
        path, remedy = self.path / CONFIG, self._remedy("delete the folder and run again")
        if not path.exists() and (record := self.record):
            return record.config
        content = _read(path, remedy)
        return _validated(path, content, _kind(path, content).configuration(), "configuration", remedy)

    @property
    def record(self) -> DoneRecord | None:
        """The record, of the model of its kind; None while the run is not done."""
        return self._remembered(self._of_its_kind, "any")

    def record_of(self, model: type[_Done]) -> _Done | None:
        """Return the record where its model is known; None while the run is not done."""
        return self._remembered(lambda content: self._checked(content, model), model.__name__)

    @property
    def learned(self) -> LearnedRecord | None:
        """The record of a run that learns; None while it is not done, or for one that does not."""
        record = self.record
        return record if isinstance(record, LearnedRecord) else None

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """The epochs done, in order.

        The last line may be torn (the run was killed while it wrote) and is then left out. Raise UsageError for any
        other damage, and where a run that is done has another number of epochs than its record says.
        """
        record = self.record  # first, because a worker writes it last
        if record and record.metrics_sha256:
            self._require_metrics(record)
        path, remedy = self.path / METRICS, self._remedy(_FORCE)
        try:
            epochs = metrics.read(path) if path.is_file() else []
        except ValueError as error:
            raise UsageError(f"{path}: {error}; {remedy}") from None
        if record and record.epochs != len(epochs):
            raise UsageError(f"{path}: {count(len(epochs), 'epoch')}, but the record says {record.epochs}; {remedy}")
        return tuple(epochs)

    @property
    def epochs_done(self) -> int:
        """How many epochs are recorded, 0 where that cannot be read."""
        try:
            return len(self.epochs)
        except UsageError:
            return 0

    @property
    def written_metrics(self) -> bytes | None:
        """The content of ``metrics.jsonl`` where it is, by the hash in the record, what the worker has written."""
        record, path = self.record, self.path / METRICS
        if not (record and record.metrics_sha256 and path.is_file()):
            return None
        content, found = read_with_hash(path)
        return content if found == record.metrics_sha256 else None

    @property
    def metrics_sha256(self) -> str | None:
        """The hash of ``metrics.jsonl``; None if it is not there."""
        return sha256_of(path) if (path := self.path / METRICS).is_file() else None

    @property
    def identity(self) -> tuple[int, int] | None:
        """Which folder of the file system this is; None if it does not exist."""
        if not self.path.exists():
            return None
        found = self.path.stat()
        return found.st_dev, found.st_ino

    @property
    def progress(self) -> Snapshot | None:
        """Where the worker stands; None if it has not written that (or not legibly)."""
        try:
            return Snapshot.model_validate_json((self.path / PROGRESS).read_bytes())
        except (OSError, ValueError):
            return None

    @property
    def failure(self) -> Failure | None:
        """What stopped the last attempt; of a damaged file, that it is."""
        path = self.path / FAILURE
        try:
            return _validated(path, _read(path, _DELETE), Failure, "failure", _DELETE) if path.exists() else None
        except UsageError as error:
            return Failure(error=str(error))

    @property
    def fallback(self) -> Fallback | None:
        """With which backend to continue, since graphs of the run have failed."""
        path = self.path / BACKEND
        return _validated(path, _read(path, _DELETE), Fallback, "backend", _DELETE) if path.exists() else None

    @property
    def first_attempt(self) -> FirstAttempt | None:
        """What later attempts do as the first one did; None before it, or where that is damaged."""
        try:
            return FirstAttempt.model_validate_json((self.path / ATTEMPT).read_bytes())
        except (OSError, ValueError):
            return None

    @property
    def checkpoints(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return sorted(path for path in self.path.glob(CHECKPOINTS) if path.is_file())

    def checkpoint(self, number: int) -> Path:
        """Return the file of checkpoint ``number``, a count of steps."""
        return self.path / CHECKPOINTS.replace("*", f"{number:09d}")

    @property
    def weights(self) -> Path:
        """The file of the final weights."""
        return self.path / WEIGHTS

    @property
    def log(self) -> Path:
        """The file of everything that workers printed."""
        return self.path / LOG

    def write_config(self, config: Configuration) -> None:
        """Write ``config.json`` for a new attempt, and forget why an earlier one failed."""
        write_json(self.path / CONFIG, config.model_dump(mode="json"))
        self.clear_failure()

    def write_epochs(self, epochs: Sequence[Epoch]) -> None:
        """Replace ``metrics.jsonl``."""
        with atomic_write(self.path / METRICS) as file:
            file.writelines(metrics.line(epoch) for epoch in epochs)

    def append_epoch(self, epoch: Epoch) -> None:
        """Add a line to ``metrics.jsonl``, on disk before this returns."""
        append_line(self.path / METRICS, metrics.line(epoch))

    def write_progress(self, snapshot: Snapshot) -> None:
        """Write ``progress.json``."""
        write_json(self.path / PROGRESS, snapshot.model_dump(mode="json"), durable=False)

    def write_record(self, record: DoneRecord) -> None:
        """Write ``record.json``, which makes the run done, and remove what only an unfinished run needs."""
        write_json(self.path / RECORD, {"schema": SCHEMA, **record.model_dump(mode="json")})
        self.clear_unfinished()

    def clear_unfinished(self) -> None:
        """Remove what only an unfinished run needs."""
        for path in (*self.checkpoints, self.path / BACKEND, self.path / ATTEMPT):
            path.unlink(missing_ok=True)
        self.clear_temporaries()

    def clear_temporaries(self) -> None:
        """Remove what killed workers were writing; the lease is held, and the engine's own files are left alone."""
        clear_temporaries(self.path, METRICS, RECORD, WEIGHTS, CHECKPOINTS, PROGRESS, FAILURE, BACKEND, ATTEMPT)

    def write_failure(self, error: str, memory: bool = False) -> None:
        """Write ``failure.json``; ``memory``: there was too little."""
        write_json(self.path / FAILURE, Failure(error=error, time=time.time(), out_of_memory=memory).model_dump())

    def graphs_used(self, backend: Backend) -> None:
        """Note that the run's graphs are those of ``backend``, since a process that crashes leaves no word."""
        earlier = self.fallback
        self._write_fallback(Fallback(backend=backend, reason=earlier.reason if earlier else ""))

    def graphs_failed(self, backend: Backend, why: str) -> Fallback:
        """Let the run continue with the backend after ``backend``, whose graphs failed; the reasons add up."""
        earlier = self.fallback
        reasons = (earlier.reason if earlier else "", f"{backend} failed ({why})")
        fallback = Fallback(backend=backend.next, reason="; ".join(filter(None, reasons)))
        self._write_fallback(fallback)
        return fallback

    def _write_fallback(self, fallback: Fallback) -> None:
        write_json(self.path / BACKEND, fallback.model_dump(mode="json"))

    def write_first_attempt(self, attempt: FirstAttempt) -> None:
        """Write ``attempt.json``."""
        write_json(self.path / ATTEMPT, attempt.model_dump())

    def clear_failure(self) -> None:
        """Forget why an earlier attempt failed."""
        (self.path / FAILURE).unlink(missing_ok=True)

    @property
    def holder(self) -> Holder | None:
        """The process that works on the run, as far as one look can tell; None if there is none."""
        return holder(self.path)

    def _require_metrics(self, record: DoneRecord) -> None:
        """Raise UsageError unless ``metrics.jsonl`` is what the record speaks of."""
        if not record.metrics_sha256:
            _ = self.epochs
        elif self.metrics_sha256 != record.metrics_sha256:
            path, remedy = self.path / METRICS, self._remedy(_FORCE)
            raise UsageError(f"{path}: not the metrics that this run has written; {remedy}")

    def _remedy(self, own: str) -> str:
        return ASK if self.sent else own

    def _remembered(self, checked: Callable[[dict[str, Any]], _Done], what: str) -> _Done | None:
        """Return the record, checked in this way, None if the run is not done."""
        path = self.path / RECORD
        found: _Done | None = _RECORDS.get(path, lambda: checked(self._record()) if path.exists() else None, what)
        return found

    def _of_its_kind(self, content: dict[str, Any]) -> DoneRecord:
        return self._checked(content, _kind(self.path / RECORD, content.get("config")).record())

    def _record(self) -> dict[str, Any]:
        """Return the record as stored."""
        path, remedy = self.path / RECORD, self._remedy(_DELETE)
        content = _read(path, remedy)
        if content.get("status") not in (State.finished, State.diverged):
            raise UsageError(f"{path}: damaged (status is neither finished nor diverged); {remedy}")
        if type(version := content.get("schema", 1)) is not int or version < 1:
            raise UsageError(f"{path}: damaged (schema {version!r:.40} is no version); {remedy}")
        return content

    def _checked(self, content: dict[str, Any], model: type[_Done]) -> _Done:
        """Return the record; raise UsageError if it is incomplete, inconsistent or from another folder."""
        path, remedy = self.path / RECORD, self._remedy(_DELETE)
        try:
            content = migrated(content)
        except ValueError as error:
            raise UsageError(f"{path}: {error}") from None
        record = _validated(path, content, model, "record", remedy)
        try:
            found = record.config.id
        except (ValueError, RecursionError) as error:  # settings within settings without end
            raise UsageError(f"{path}: damaged ({error!s:.200}); {remedy}") from None
        if record.id != found:
            raise UsageError(f"{path}: id {record.id}, but its configuration's is {found}; {remedy}")
        if not self.path.name.endswith(f".{record.id}"):
            raise UsageError(f"{path}: is the record of run {record.id}, not of this folder; move it to its own folder")
        return record


def _kind(path: Path, config: Any) -> kinds.Kind:
    """Return the kind that a configuration names."""
    name = config.get("kind", kinds.DEFAULT_KIND) if isinstance(config, dict) else kinds.DEFAULT_KIND
    try:
        return kinds.get(str(name))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _read(path: Path, remedy: str) -> dict[str, Any]:
    """Return a JSON object from ``path``."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; {remedy}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: damaged ({error}); {remedy}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: damaged (not a JSON object); {remedy}")
    return content


def _validated(path: Path, content: dict[str, Any], model: type[_Model], what: str, remedy: str) -> _Model:
    """Return the content as a model; raise UsageError with the first of pydantic's complaints, in one line."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        first = f"{place}: {problem['msg']}" if place else str(problem["msg"])
        raise UsageError(f"{path}: not a valid {what} ({first}); {remedy}") from None

"""Records from elsewhere, checked before they are published: files, ids, versions, and what cannot be."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from okdbench import kinds
from okdbench.errors import UsageError
from okdbench.runs.find import runs_below
from okdbench.runs.folder import CONFIG, LOG, METRICS, RECORD, RunFolder
from okdbench.runs.records import DoneRecord

VERSIONS = ("okdbench", "torch", "python", "device_name")
"""What a record's environment has to say of how the run was computed."""
PUBLISHED = (CONFIG, METRICS, RECORD)
"""The files that records consist of."""


@dataclass
class Verification:
    """What was found: ``sound`` runs; ``problems``, which forbid to publish a run; ``remarks``, which do not.

    ``unfinished`` runs have no record. Problems are lines that begin with the run's folder; a remark has its runs.
    """

    sound: list[RunFolder] = field(default_factory=list)
    unfinished: list[RunFolder] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: dict[str, list[RunFolder]] = field(default_factory=dict)


def verify_records(results: Path) -> Verification:
    """Check every run below ``results``, a results folder; raise UsageError if there is none."""
    found, metrics = Verification(), dict[str, RunFolder]()
    folders = list(runs_below(results))
    if not folders:
        raise UsageError(f"{results}: has no runs as DIR/RECIPE/RUN; name a results folder")
    for folder in folders:
        try:
            record = folder.record
            if record is None:
                found.unfinished.append(folder)
                continue
            problems = list(_problems(folder, record, metrics))
        except UsageError as error:
            problems = [str(error)]
        else:
            for remark in _remarks(folder, record):
                found.remarks.setdefault(remark, []).append(folder)
        found.problems += [
            problem if problem.startswith(str(folder)) else f"{folder}: {problem}" for problem in problems
        ]
        if not problems:
            found.sound.append(folder)
    return found


def _problems(folder: RunFolder, record: DoneRecord, metrics: dict[str, RunFolder]) -> Iterator[str]:
    """What is wrong with a run that has a record; ``metrics`` are those seen so far, by their hash."""
    if folder.config != record.config:
        yield f"{CONFIG} is not the configuration of the record"
    if folder.path.name != record.config.folder:
        yield f"the folder's name is not that of its run, {record.config.folder}"
    epochs = folder.epochs
    lacking = [name for name in VERSIONS if not record.environment.get(name)]
    if lacking:
        yield f"{RECORD} does not say on what it was computed: no {', '.join(lacking)}"
    digest = folder.metrics_sha256
    if epochs and digest:
        other = metrics.setdefault(digest, folder)
        if other.path.name != folder.path.name:
            yield f"{METRICS} is that of {other}, another run"
    yield from kinds.get(record.config.kind).doubts(record, epochs)


def _remarks(folder: RunFolder, record: DoneRecord) -> Iterator[str]:
    """What a reader of the record should know, and what need not be sent."""
    if not record.metrics_sha256 and folder.epochs:
        yield f"{RECORD} is of an earlier version, which did not keep the hash of {METRICS}"
    if record.environment.get("git_dirty"):
        yield "trained with code that was changed after its commit"
    yield from kinds.get(record.config.kind).unchecked(record)
    if plugins := record.environment.get("plugins"):
        yield f"needs plugins: {', '.join(sorted(plugins))}"
    more = sorted(path.name for path in folder.path.iterdir() if path.name not in (*PUBLISHED, LOG))
    if more:
        yield f"also holds {', '.join(more)}, which records do not need"

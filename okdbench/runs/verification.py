"""Records from elsewhere, checked before they are published: files, ids, versions, and what cannot be."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from okdbench import kinds
from okdbench.errors import UsageError
from okdbench.files import LARGEST_JSON, unlike_a_file, unlike_a_folder
from okdbench.runs import metrics, provenance
from okdbench.runs.beside import Beside, Done
from okdbench.runs.find import runs_below
from okdbench.runs.folder import ASK, CONFIG, LOG, MEASUREMENTS, METRICS, RECORD, RunFolder
from okdbench.runs.records import DoneRecord, Epoch

PUBLISHED = (CONFIG, METRICS, RECORD)
"""The files that records consist of."""
LARGEST_METRICS = 2**30
"""Bytes."""
LONGEST = 1e9
"""Seconds that no run takes."""


@dataclass
class Verification:
    """What was found: ``sound`` runs; ``problems``, which forbid to publish a run; ``remarks``, which do not.

    ``unfinished`` runs have no record. Problems are lines that begin with the run's folder; a remark has its runs.
    """

    sound: list[RunFolder] = field(default_factory=list)
    unfinished: list[RunFolder] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: dict[str, list[RunFolder]] = field(default_factory=dict)


@dataclass
class Checked:
    """What a check found: a ``run``, None without a record; ``problems`` are lines that begin with its folder."""

    folder: RunFolder
    run: Done | None = None
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, problems: Iterable[str]) -> None:
        """Add problems, each with the folder where it does not name a file."""
        named = str(self.folder)
        self.problems += [line if line.startswith(named) else f"{named}: {line}" for line in problems]


def verify_records(results: Path) -> Verification:
    """Check every run below ``results``, a results folder; raise UsageError if there is none."""
    found, beside = Verification(), Beside()
    folders = list(runs_below(results, sent=True))
    if not folders:
        raise UsageError(f"{results}: has no runs as DIR/RECIPE/RUN; name a results folder")
    for folder in folders:
        checked = check_run(folder)
        if run := checked.run:
            checked.add([*beside.differs(run), *beside.copied(run)])
            checked.remarks += beside.remarks(run) if not checked.problems else ()
        elif not checked.problems:
            found.unfinished.append(folder)
        found.problems += checked.problems
        if checked.run and not checked.problems:
            found.sound.append(folder)
        for remark in checked.remarks:
            found.remarks.setdefault(remark, []).append(folder)
    for remark, folder in _overlooked(results):
        found.remarks.setdefault(remark, []).append(folder)
    return found


def check_run(folder: RunFolder) -> Checked:
    """Check one run, whose files may be anything."""
    checked = Checked(folder)
    try:
        checked.add(_unreadable(folder))
        if checked.problems or not (run := Done.read(folder)):
            return checked
        checked.add(_problems(folder, run.record, run.epochs))
        checked.run = run
        checked.remarks = [] if checked.problems else list(_remarks(folder, run.record, run.epochs))
    except UsageError as error:
        checked.add([str(error)])
    except OSError as error:
        checked.add([f"{error.filename or folder}: cannot be read ({error.strerror}); {ASK}"])
    except (ValueError, RecursionError) as error:  # of values that no model foresees
        checked.add([f"damaged ({' '.join(str(error).split()):.200}); {ASK}"])
    return checked


def _unreadable(folder: RunFolder) -> Iterator[str]:
    """What of a run is not to be opened, since it leads elsewhere, or never ends."""
    for place in (folder.path.parent, folder.path):
        if wrong := unlike_a_folder(place):
            yield f"{place}: {wrong}"
            return
    for path in (*(folder.path / name for name in PUBLISHED), *folder.path.glob("lease.*")):
        if wrong := unlike_a_file(path, LARGEST_METRICS if path.name == METRICS else LARGEST_JSON):
            yield f"{path}: {wrong}"


def _problems(folder: RunFolder, record: DoneRecord, epochs: Sequence[Epoch]) -> Iterator[str]:
    """What is wrong with a run that has a record."""
    if not (folder.path / CONFIG).exists():
        yield f"{CONFIG} is not there; {ASK}"
    elif folder.config != record.config:
        yield f"{CONFIG} is not the configuration of the record"
    if folder.path.name != record.config.folder:
        yield f"the folder's name is not that of its run, {record.config.folder}"
    yield from provenance.problems(record)
    if record.wall_seconds >= LONGEST:
        yield f"{RECORD} has wall_seconds {record.wall_seconds:g}, more than thirty years"
    yield from kinds.get(record.config.kind).doubts(record, epochs)


def _remarks(folder: RunFolder, record: DoneRecord, epochs: Sequence[Epoch]) -> Iterator[str]:
    """What a reader of the record should know, and what need not be sent."""
    if not record.metrics_sha256 and epochs:
        yield f"{RECORD} is of an earlier version, which did not keep the hash of {METRICS}"
    if epochs and (line := metrics.first_unusual(folder.path / METRICS, epochs)):
        yield f"{METRICS}, line {line}, is not as okdbench writes it"
    if record.wall_seconds < (1 - 1e-6) * sum(epoch.seconds for epoch in epochs):
        yield f"{RECORD} has wall_seconds below those of its epochs"
    yield from kinds.get(record.config.kind).unchecked(record)
    yield from provenance.remarks(record)
    more = sorted(path.name for path in folder.path.iterdir() if path.name not in (*PUBLISHED, LOG))
    if more:
        yield f"also holds {', '.join(more)}, which records do not need"


def _overlooked(results: Path) -> Iterator[tuple[str, RunFolder]]:
    """What is below a results folder and was not looked at, with the remark that says so."""
    for path in sorted(results.glob("*/*")):
        hidden = any(part.startswith(".") for part in path.relative_to(results).parts)
        if path.is_dir() and path.parent.name != MEASUREMENTS and not hidden and not RunFolder(path).exists:
            yield "holds no run: not looked at", RunFolder(path)
    for path in sorted(found.parent for found in results.rglob(RECORD)):
        place = path.relative_to(results).parts
        if len(place) != len(("RECIPE", "RUN")) or place[0] == MEASUREMENTS:
            yield "holds a record, and is not at DIR/RECIPE/RUN: not looked at", RunFolder(path)

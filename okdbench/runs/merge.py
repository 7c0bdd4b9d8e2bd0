"""Runs from the results folders of other machines, brought into one: checked, copied whole, never overwriting."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from okdbench.errors import UsageError
from okdbench.files import unlike_a_file
from okdbench.runs.beside import Beside, Done
from okdbench.runs.find import runs_below
from okdbench.runs.folder import RECORD, RunFolder
from okdbench.runs.outcome import Outcome
from okdbench.runs.records import DoneRecord, LearnedRecord
from okdbench.runs.reuse import duplicates, take_over
from okdbench.runs.verification import Checked, check_run
from okdbench.runs.weights import final_weights


@dataclass
class Merged:
    """What became of the runs found: their folders, and for those that were left out the reason.

    ``conflicts`` are runs of one id whose results differ, each with its folder here, or in another source;
    ``remarks`` are lines about what was left out of runs that were copied.
    """

    copied: list[RunFolder] = field(default_factory=list)
    present: list[RunFolder] = field(default_factory=list)
    conflicts: list[tuple[RunFolder, RunFolder]] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    unfinished: list[RunFolder] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def merge_records(sources: list[Path], results: Path, dry_run: bool = False) -> Merged:
    """Copy every run that is done below ``sources`` (results folders) to the same recipe below ``results``.

    Each is checked first, as `okdbench.runs.verification` does; one with problems is left out. A run that is there
    already stays as it is, and must have the same result. ``dry_run`` copies nothing. Raise UsageError for a source
    without any run, before anything is copied, or one that is ``results`` itself.
    """
    runs = {source: list(runs_below(source, sent=True)) for source in sources}
    for source, found in runs.items():
        if source.resolve() == results.resolve():
            raise UsageError(f"{source}: is the results folder itself; name the other machine's, or change --results")
        if not found:
            raise UsageError(f"{source}: has no runs as DIR/RECIPE/RUN; name a results folder")
    merge = _Merge(results, dry_run)
    for folder in (folder for found in runs.values() for folder in found):
        merge.add(folder)
    return merge.merged


class _NotWritten(UsageError):
    """The results folder takes no files, which is so for every further run."""


class _Merge:
    """What has come from earlier sources, and comes now."""

    def __init__(self, results: Path, dry_run: bool) -> None:
        self.merged = Merged()
        self._results, self._dry_run = results, dry_run
        self._arriving: dict[str, list[tuple[RunFolder, RunFolder]]] = {}
        """In a dry run, what would be here, by the names of runs: target and source."""
        self._beside: Beside | None = None

    def add(self, source: RunFolder) -> None:
        """Check a run and copy it, or say why not."""
        checked, target = check_run(source), RunFolder(self._results / source.recipe / source.path.name)
        if checked.problems:
            self.merged.damaged += checked.problems
        elif checked.run is None:
            self.merged.unfinished.append(source)
        else:
            try:
                self._bring(checked, checked.run, target)
            except _NotWritten:
                raise
            except UsageError as error:
                self.merged.damaged.append(str(error))

    def _bring(self, checked: Checked, run: Done, target: RunFolder) -> None:
        source = run.folder
        for other in self._copies(target):
            if (theirs := _outcome(other, target)) and not theirs.agrees(run.outcome):
                self.merged.conflicts.append((source, other))
                return
        arriving = self._arriving.setdefault(source.path.name, [])
        if (target.path / RECORD).exists() or any(planned == target for planned, _ in arriving):
            self.merged.present.append(target)
            return
        self._beside = self._beside or _beside(self._results)
        checked.add(self._beside.copied(run))
        if checked.problems:
            self.merged.damaged += checked.problems
            return
        self.merged.remarks += [f"{source}: {line}" for line in self._beside.remarks(run)]
        weights = self._weights(source, run.record)
        if self._dry_run:
            arriving.append((target, source))
        elif not self._copied(source, target, weights):
            return
        self.merged.copied.append(target)

    def _copies(self, target: RunFolder) -> Iterator[RunFolder]:
        """The same run, here under any recipe, or where it would be if this were no dry run."""
        if (target.path / RECORD).exists():
            yield target
        yield from (other for other in duplicates(target) if (other.path / RECORD).exists())
        yield from (source for _, source in self._arriving.get(target.path.name, ()))

    def _copied(self, source: RunFolder, target: RunFolder, weights: bool) -> bool:
        try:
            state = take_over(source, target, weights)
        except (OSError, shutil.Error) as error:
            raise _NotWritten(f"{target}: cannot be written ({error}); choose another folder with --results") from None
        if not state.done:
            how = "a worker trains it here now" if state.under_way else f"is {state} here"
            self.merged.damaged.append(f"{target}: {how}; merge again afterwards")
        return state.done

    def _weights(self, source: RunFolder, record: DoneRecord) -> bool:
        """Return whether the weights are there and are those of the record; say if they are left out."""
        wrong = unlike_a_file(source.weights)
        if not wrong and source.weights.exists():
            if not (isinstance(record, LearnedRecord) and record.weights_sha256):
                wrong = f"{RECORD} has no hash to compare it with; train the run again if you need it"
            else:
                try:
                    final_weights(source, "ask its sender for the file")
                except UsageError as error:
                    wrong = str(error).removeprefix(f"{source.weights}: ")
        if wrong:
            self.merged.remarks.append(f"{source.weights}: left out, {wrong}")
        return not wrong and source.weights.exists()


def _beside(results: Path) -> Beside:
    """Return what compares runs with those of a results folder; damaged ones are left out."""
    beside = Beside()
    for folder in runs_below(results):
        try:
            if run := Done.read(folder):
                # What these have in common among themselves is told whoever verifies this folder.
                _ = [*beside.copied(run), *beside.remarks(run)]
        except UsageError:
            continue
    return beside


def _outcome(folder: RunFolder, target: RunFolder) -> Outcome | None:
    """Return the outcome of a run that is here; UsageError for a damaged ``target``, None for another recipe's copy,
    which that one reports.
    """
    try:
        run = Done.read(folder)
        return run.outcome if run else None
    except UsageError:
        if folder == target:
            raise
        return None

"""Runs from the results folders of other machines, brought into one: checked, copied whole, never overwriting."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from okdbench.errors import UsageError
from okdbench.runs.find import runs_below
from okdbench.runs.folder import RECORD, RunFolder
from okdbench.runs.reuse import take_over

MEASURED: set[str] = {
    "environment",
    "images_per_second",
    "metrics_sha256",  # covers the times of the epochs
    "peak_memory_bytes",
    "seconds",
    "wall_seconds",
}
"""What records and metrics say of the machine and its speed: other values do not make another result."""


@dataclass
class Merged:
    """What became of the runs found: their folders, and for those that were left out the reason.

    ``conflicts`` are runs of one id whose results differ, each with its folder here.
    """

    copied: list[RunFolder] = field(default_factory=list)
    present: list[RunFolder] = field(default_factory=list)
    conflicts: list[tuple[RunFolder, RunFolder]] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    unfinished: list[RunFolder] = field(default_factory=list)


def merge_records(sources: list[Path], results: Path, dry_run: bool = False) -> Merged:
    """Copy every run that is done below ``sources`` (results folders) to the same recipe below ``results``.

    A run that is there already stays as it is, and must have the same result. ``dry_run`` copies nothing.
    Raise UsageError for a source without any run, before anything is copied, or one that is ``results`` itself.
    """
    runs = {source: list(runs_below(source)) for source in sources}
    for source, found in runs.items():
        if source.resolve() == results.resolve():
            raise UsageError(f"{source}: is the results folder itself; name the other machine's, or change --results")
        if not found:
            raise UsageError(f"{source}: has no runs as DIR/RECIPE/RUN; name a results folder")
    merged = Merged()
    for folder in (folder for found in runs.values() for folder in found):
        _merge_run(folder, RunFolder(results / folder.recipe / folder.path.name), merged, dry_run)
    return merged


def _merge_run(source: RunFolder, target: RunFolder, merged: Merged, dry_run: bool) -> None:
    try:
        if source.record is None:
            merged.unfinished.append(source)
            return
        _ = source.epochs  # as many as the record says
        same = _same(source, target) if (target.path / RECORD).exists() else None
        if same is not None:
            merged.present.append(target) if same else merged.conflicts.append((source, target))
        elif dry_run or take_over(source, target).done:
            merged.copied.append(target)
        else:
            merged.damaged.append(f"{target}: a worker trains it here now; merge again afterwards")
    except UsageError as error:
        merged.damaged.append(str(error))
    except (OSError, shutil.Error) as error:
        raise UsageError(f"{target}: cannot be written ({error}); choose another folder with --results") from None


def _same(source: RunFolder, target: RunFolder) -> bool:
    """Return whether both folders hold the same result, wherever and however fast it was computed."""
    return _result(source) == _result(target)


def _result(folder: RunFolder) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return what a run that is done has found: its record and metrics without `MEASURED`."""
    record = folder.record
    metrics = [epoch.model_dump(exclude=MEASURED) for epoch in folder.epochs]
    return record.model_dump(exclude=MEASURED) if record else None, metrics

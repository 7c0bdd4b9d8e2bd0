"""Runs with changed settings, found among the folders of a recipe."""

from pathlib import Path

import fabricate
import pytest

from okdbench.plan import Selection
from okdbench.plan.changed import ChangedRuns, changed_runs
from okdbench.runs.folder import RunFolder

HEADS = {"student": [50.0, 60.0]}


def test_of_the_runs_in_a_folder_those_that_are_not_planned_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = fabricate.plan(tmp_path)
    changed = fabricate.plan(tmp_path, Selection(settings={"training.epochs": 3})).runs[:2]
    for run in [*planned.runs[:3], *changed]:
        fabricate.run(tmp_path / "results", run.config, HEADS)
    read: list[str] = []
    config = RunFolder.config.fget
    assert config
    monkeypatch.setattr(
        RunFolder, "config", property(lambda folder: (read.append(folder.path.name), config(folder))[1])
    )
    known, folder = {run.id for run in planned.runs[:1]}, tmp_path / "results" / "small"
    found = changed_runs(planned.recipe, folder, known)
    assert found == [ChangedRuns(frozenset(run.id for run in changed), {"training.epochs": 3})]
    assert sorted(read) == sorted(run.config.folder for run in changed)
    assert changed_runs(planned.recipe, folder, {run.id for run in [*planned.runs, *changed]}) == []
    assert len(read) == 2

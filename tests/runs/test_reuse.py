"""Runs that two recipes have in common, as folders made up on disk."""

import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import fabricate
import pytest

from okdbench.config import RunConfig
from okdbench.runs.folder import RunFolder
from okdbench.runs.lease import held
from okdbench.runs.records import State
from okdbench.runs.reuse import done_duplicate, running_duplicate, take_over

HEADS = {"student": [50.0, 60.0]}


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return fabricate.plan(tmp_path).runs[0].config


@pytest.fixture
def duplicate(config: RunConfig, tmp_path: Path) -> RunFolder:
    """The run, done in the recipe "small", with weights."""
    folder = RunFolder(fabricate.run(tmp_path / "results", config, HEADS))
    folder.weights.write_bytes(b"weights")
    return folder


@pytest.fixture
def folder(config: RunConfig, tmp_path: Path) -> RunFolder:
    """Where the recipe "mine" has the run."""
    return RunFolder(tmp_path / "results" / "mine" / config.folder)


def test_a_done_run_of_another_recipe_is_found(config: RunConfig, duplicate: RunFolder, folder: RunFolder) -> None:
    assert done_duplicate(config, folder) == duplicate
    assert done_duplicate(config, duplicate) is None, "a recipe's own run is not a duplicate"
    assert done_duplicate(config, folder, weights=True) == duplicate
    (duplicate.path / "weights.pt").unlink()
    assert done_duplicate(config, folder, weights=True) is None


def test_what_is_not_done_or_not_whole_is_not_found(config: RunConfig, duplicate: RunFolder, folder: RunFolder) -> None:
    record, metrics = (duplicate.path / "record.json").read_text(), (duplicate.path / "metrics.jsonl").read_text()
    for name, text in (
        ("record.json", "{"),
        ("record.json", record.replace(config.id, "000000000000")),
        ("metrics.jsonl", metrics.splitlines()[0]),
    ):
        (duplicate.path / "record.json").write_text(record)
        (duplicate.path / "metrics.jsonl").write_text(metrics)
        assert done_duplicate(config, folder) == duplicate
        (duplicate.path / name).write_text(text)
        assert done_duplicate(config, folder) is None, text
    (duplicate.path / "record.json").unlink()
    assert done_duplicate(config, folder) is None


def test_a_run_taken_over_is_a_whole_copy(duplicate: RunFolder, folder: RunFolder) -> None:
    assert take_over(duplicate, folder) == "finished"
    for name in ("config.json", "metrics.jsonl", "record.json", "weights.pt"):
        assert (folder.path / name).read_bytes() == (duplicate.path / name).read_bytes()
    assert folder.record == duplicate.record
    (folder.path / "record.json").write_text("of its own")
    assert duplicate.state == "finished"
    assert (folder.path / "weights.pt").samefile(duplicate.path / "weights.pt"), (
        "weights are large and never written in place"
    )


def test_what_an_earlier_attempt_left_goes(duplicate: RunFolder, folder: RunFolder) -> None:
    (duplicate.path / "weights.pt").unlink()
    folder.path.mkdir(parents=True)
    for name in ("failure.json", "checkpoint-000000007.pt", "progress.json", "weights.pt", "metrics.jsonl"):
        (folder.path / name).write_text("old")
    assert take_over(duplicate, folder) == "finished"
    assert {path.name for path in folder.path.iterdir()} == {"config.json", "metrics.jsonl", "record.json", "lease.1"}


def test_a_folder_in_work_or_done_is_left_alone(duplicate: RunFolder, folder: RunFolder) -> None:
    folder.path.mkdir(parents=True)
    with held(folder.path):
        assert take_over(duplicate, folder) == "running"
        assert running_duplicate(duplicate) == folder
    assert {path.name for path in folder.path.iterdir()} == {"lease.1"}
    assert take_over(duplicate, folder) == "finished"
    mine = (folder.path / "record.json").read_text().replace("cpu", "cuda")
    (folder.path / "record.json").write_text(mine)
    assert take_over(duplicate, folder) == "finished" and (folder.path / "record.json").read_text() == mine


def test_a_run_in_work_elsewhere_is_found_until_it_is_done(duplicate: RunFolder, folder: RunFolder) -> None:
    with held(duplicate.path):
        assert running_duplicate(folder) is None, "it has its record"
        (duplicate.path / "record.json").unlink()
        assert running_duplicate(folder) == duplicate
    assert running_duplicate(folder) is None


@pytest.mark.parametrize("copied", [0, 1, 2])
def test_a_crash_at_any_file_leaves_it_undone(
    copied: int, duplicate: RunFolder, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, calls = shutil.copyfileobj, iter(range(3))

    def crash(source: Any, target: Any) -> None:
        if next(calls) == copied:
            raise KeyboardInterrupt
        copy(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", crash)
        with pytest.raises(KeyboardInterrupt):
            take_over(duplicate, folder)
    assert not folder.state.done
    assert take_over(duplicate, folder) is State.finished and len(folder.epochs) == 2


def test_what_a_link_leads_to_is_copied(duplicate: RunFolder, folder: RunFolder, tmp_path: Path) -> None:
    elsewhere = duplicate.weights.rename(tmp_path / "elsewhere.pt")
    duplicate.weights.symlink_to(elsewhere)
    assert take_over(duplicate, folder) == "finished"
    assert not folder.weights.is_symlink() and folder.weights.read_bytes() == b"weights"


def test_stale_files_go_where_the_source_has_none(duplicate: RunFolder, folder: RunFolder) -> None:
    folder.path.mkdir(parents=True)
    for name in ("config.json", "metrics.jsonl"):
        (folder.path / name).write_text("old")
    (duplicate.path / "config.json").unlink()
    assert take_over(duplicate, folder) == "finished"
    assert not (folder.path / "config.json").exists() and len(folder.epochs) == 2


def test_without_links_weights_are_copied(
    duplicate: RunFolder, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError("links are not supported here")

    monkeypatch.setattr("os.link", refuse)
    take_over(duplicate, folder)
    assert (folder.path / "weights.pt").read_bytes() == b"weights"
    assert not (folder.path / "weights.pt").samefile(duplicate.path / "weights.pt")


def test_several_processes_may_take_over_at_once(duplicate: RunFolder, folder: RunFolder) -> None:
    processes = [multiprocessing.Process(target=take_over, args=(duplicate, folder)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 4
    assert folder.record == duplicate.record

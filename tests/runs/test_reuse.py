"""Runs that two recipes have in common, as folders made up on disk."""

import fcntl
import multiprocessing
from pathlib import Path

import fabricate
import pytest

from okdbench.config import RunConfig
from okdbench.runs import reuse
from okdbench.runs.records import read_run, state
from okdbench.runs.reuse import done_twin, running_twin, take_over

HEADS = {"student": [50.0, 60.0]}


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return fabricate.plan(tmp_path).runs[0].config


@pytest.fixture
def twin(config: RunConfig, tmp_path: Path) -> Path:
    """The run, done in the recipe "small", with weights."""
    folder = fabricate.run(tmp_path / "results", config, HEADS)
    (folder / "weights.pt").write_bytes(b"weights")
    return folder


@pytest.fixture
def folder(config: RunConfig, tmp_path: Path) -> Path:
    """Where the recipe "mine" has the run."""
    return tmp_path / "results" / "mine" / config.folder


def test_a_done_run_of_another_recipe_is_found(config: RunConfig, twin: Path, folder: Path) -> None:
    assert done_twin(config, folder) == twin
    assert done_twin(config, twin) is None, "a recipe's own run is no twin"
    assert done_twin(config, folder, weights=True) == twin
    (twin / "weights.pt").unlink()
    assert done_twin(config, folder, weights=True) is None


def test_what_is_not_done_or_not_whole_is_not_found(config: RunConfig, twin: Path, folder: Path) -> None:
    record, metrics = (twin / "record.json").read_text(), (twin / "metrics.jsonl").read_text()
    for name, text in (
        ("record.json", "{"),
        ("record.json", record.replace(config.id, "000000000000")),
        ("metrics.jsonl", metrics.splitlines()[0]),
    ):
        (twin / "record.json").write_text(record)
        (twin / "metrics.jsonl").write_text(metrics)
        assert done_twin(config, folder) == twin
        (twin / name).write_text(text)
        assert done_twin(config, folder) is None, text
    (twin / "record.json").unlink()
    assert done_twin(config, folder) is None


def test_a_run_taken_over_is_a_whole_copy(twin: Path, folder: Path) -> None:
    assert take_over(twin, folder) == "finished"
    for name in ("config.json", "metrics.jsonl", "record.json", "weights.pt"):
        assert (folder / name).read_bytes() == (twin / name).read_bytes()
    assert read_run(folder).record == read_run(twin).record
    (folder / "record.json").write_text("of its own")
    assert state(twin) == "finished"
    assert (folder / "weights.pt").samefile(twin / "weights.pt"), "weights are large and never written in place"


def test_what_an_earlier_attempt_left_goes(twin: Path, folder: Path) -> None:
    (twin / "weights.pt").unlink()
    folder.mkdir(parents=True)
    for name in ("failure.json", "checkpoint-000000007.pt", "progress.json", "weights.pt", "metrics.jsonl"):
        (folder / name).write_text("old")
    assert take_over(twin, folder) == "finished"
    assert {path.name for path in folder.iterdir()} == {"config.json", "metrics.jsonl", "record.json", "lock"}


def test_a_folder_in_work_or_done_is_left_alone(twin: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert take_over(twin, folder) == "running"
        assert running_twin(twin) == folder
    assert {path.name for path in folder.iterdir()} == {"lock"}
    assert take_over(twin, folder) == "finished"
    mine = (folder / "record.json").read_text().replace("cpu", "cuda")
    (folder / "record.json").write_text(mine)
    assert take_over(twin, folder) == "finished" and (folder / "record.json").read_text() == mine


def test_a_run_in_work_elsewhere_is_found_until_it_is_done(twin: Path, folder: Path) -> None:
    with (twin / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert running_twin(folder) is None, "it has its record"
        (twin / "record.json").unlink()
        assert running_twin(folder) == twin
    assert running_twin(folder) is None


def test_a_crash_at_any_file_leaves_it_undone(twin: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = reuse._copy
    for fatal in ("config.json", "metrics.jsonl", "record.json"):

        def crash(source: Path, target: Path, fatal: str = fatal) -> None:
            if target.name == fatal:
                raise KeyboardInterrupt
            copy(source, target)

        monkeypatch.setattr(reuse, "_copy", crash)
        with pytest.raises(KeyboardInterrupt):
            take_over(twin, folder)
        assert state(folder) in ("pending", "interrupted")
    monkeypatch.setattr(reuse, "_copy", copy)
    assert take_over(twin, folder) == "finished" and len(read_run(folder).metrics) == 2


def test_without_links_weights_are_copied(twin: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError("links are not supported here")

    monkeypatch.setattr("os.link", refuse)
    take_over(twin, folder)
    assert (folder / "weights.pt").read_bytes() == b"weights"
    assert not (folder / "weights.pt").samefile(twin / "weights.pt")


def test_several_processes_may_take_over_at_once(twin: Path, folder: Path) -> None:
    processes = [multiprocessing.Process(target=take_over, args=(twin, folder)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 4
    assert read_run(folder).record == read_run(twin).record

"""Hashes of metrics that are kept: those of the files as they are, and nothing that a check of records relies on."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import fabricate
import pytest

from okdbench import shelf
from okdbench.plan.jobs import plan_jobs
from okdbench.runs import hashes as module
from okdbench.runs.folder import METRICS, RECORD
from okdbench.runs.records import State
from okdbench.runs.verification import verify_records

FINISHED = [State.finished, State.finished]
Look = Callable[[], tuple[list[State], int]]


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """What a command finds, each in a process of its own: the states of two runs, and how many files it has read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shelf, "WORTH_KEEPING", 1)
    plan = fabricate.plan(tmp_path, grid={"dataset": ["cifar100"], "network": ["resnet8"], "method": ["baseline"]})
    for run in plan.runs[:2]:
        folder = fabricate.run(tmp_path / "results", run.config, {"student": [50.0, 60.0]})
        record = json.loads((folder / RECORD).read_text())
        record |= {"schema": 2, "metrics_sha256": hashlib.sha256((folder / METRICS).read_bytes()).hexdigest()}
        (folder / RECORD).write_text(json.dumps(record))
        age(folder)
    read: list[str] = []
    actual = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path.name), actual(path))[1])

    def look() -> tuple[list[State], int]:
        module._hashes.cache_clear()
        read.clear()
        return [each.state for each in plan_jobs(plan, tmp_path / "results")[:2]], read.count(METRICS)

    return look


def age(folder: Path, seconds: float = 100.0) -> None:
    for path in folder.iterdir():
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_metrics_are_read_once(look: Look) -> None:
    assert look() == (FINISHED, 2)
    assert look() == (FINISHED, 0)


def test_changed_metrics_are_read_whatever_their_times_say(look: Look, tmp_path: Path) -> None:
    look()
    path = next(tmp_path.glob(f"results/small/*/{METRICS}"))
    before = path.stat()
    path.write_text(path.read_text().replace("60.0", "61.0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    states, read = look()
    assert sorted(states) == [State.damaged, State.finished] and read == 1


def test_new_metrics_are_not_kept(look: Look, tmp_path: Path) -> None:
    for folder in tmp_path.glob("results/small/*"):
        age(folder, 0.0)
    assert look() == (FINISHED, 2)
    assert look() == (FINISHED, 2)


def test_a_check_of_records_reads_all_metrics(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look()
    monkeypatch.setattr(shelf.Shelf, "get", lambda *_: b"0" * 64)
    assert look() == ([State.damaged, State.damaged], 0)
    module._hashes.cache_clear()
    problems = verify_records(tmp_path / "results").problems
    assert not [problem for problem in problems if METRICS in problem and "another run" not in problem]

"""What is kept of runs' metrics: the same numbers, and never those of other files."""

import hashlib
import json
import os
import time
from pathlib import Path

import fabricate
import numpy as np
import pytest

from okdbench import shelf
from okdbench.errors import UsageError
from okdbench.plan import Plan
from okdbench.results import curves as module
from okdbench.results.cells import evaluate_cells
from okdbench.results.curves import curves, keep
from okdbench.results.protocol import Accuracy
from okdbench.runs.folder import RunFolder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Plan, list[RunFolder]]:
    """A plan, and two finished runs that are not new, of which enough is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shelf, "WORTH_KEEPING", 1)
    module._shelf.cache_clear()
    plan = fabricate.plan(tmp_path)
    heads = {"student": [50.0, 60.0], "peer": [40.0, 41.0]}
    folders = [RunFolder(fabricate.run(tmp_path / "results", run.config, heads)) for run in plan.runs[:2]]
    for folder in folders:
        age(folder)
    return plan, folders


def age(folder: RunFolder, seconds: float = 100.0) -> None:
    for path in folder.path.iterdir():
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def again(folder: RunFolder) -> module.Curves:
    """What a later command finds."""
    keep(folder.path.parent)
    module._shelf.cache_clear()
    return curves(folder)


def same(found: Accuracy, wanted: Accuracy) -> None:
    assert found.heads == wanted.heads
    np.testing.assert_array_equal(found.values, wanted.values)


def test_accuracy_has_a_column_for_each_head(runs: tuple[Plan, list[RunFolder]]) -> None:
    same(curves(runs[1][0]).test, Accuracy(("student", "peer"), np.array([[50.0, 40.0], [60.0, 41.0]])))


def test_a_head_that_lacks_epochs_has_no_number_there(tmp_path: Path) -> None:
    run = fabricate.plan(tmp_path).runs[0]
    folder = RunFolder(fabricate.run(tmp_path / "results", run.config, {"student": [50.0, 60.0]}))
    lines = [fabricate.line(0, {"student": 50.0}), fabricate.line(1, {"peer": 41.0, "student": 60.0})]
    (folder.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    same(curves(folder).test, Accuracy(("student", "peer"), np.array([[50.0, np.nan], [60.0, 41.0]])))


def test_what_is_kept_is_what_was_read_and_the_metrics_are_not_read_again(
    runs: tuple[Plan, list[RunFolder]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, [first, second] = runs
    before = curves(first)
    curves(second)
    results = first.path.parent.parent
    measured = evaluate_cells(plan, results)
    monkeypatch.setattr(RunFolder, "epochs", property(lambda folder: pytest.fail("read again")))
    found = again(first)
    same(found.test, before.test)
    assert found.validation is None
    assert evaluate_cells(plan, results) == measured


@pytest.mark.parametrize("name", ["record.json", "metrics.jsonl"])
def test_a_changed_file_is_read(runs: tuple[Plan, list[RunFolder]], name: str) -> None:
    _, [first, _] = runs
    curves(first)
    path = first.path / name
    path.write_text(path.read_text().replace("60.0", "61.0"))
    age(first, 50.0)
    assert again(first).test.of(["student"])[:, 0].tolist() == [50.0, 61.0 if name == "metrics.jsonl" else 60.0]


def test_damage_is_seen_though_the_numbers_were_kept(runs: tuple[Plan, list[RunFolder]]) -> None:
    _, [first, _] = runs
    curves(first)
    (first.path / "metrics.jsonl").write_text(json.dumps({"epoch": 0}) + "\n")
    with pytest.raises(UsageError, match=r"metrics\.jsonl"):
        again(first)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a table", b"{}"])
def test_a_damaged_table_is_made_again(runs: tuple[Plan, list[RunFolder]], tmp_path: Path, damage: bytes) -> None:
    _, [first, _] = runs
    before = curves(first)
    keep(first.path.parent)
    [table] = (tmp_path / "cache").rglob("*.sqlite")
    table.write_bytes(damage)
    same(again(first).test, before.test)
    keep(first.path.parent)
    assert table.stat().st_size > len(damage)


@pytest.mark.parametrize("content", [b"", b"[[2", b'[[2, ["student"]]]\n01234567', b"01234567\n[[2]]", b"\n5"])
def test_what_other_code_has_kept_is_read_again(
    runs: tuple[Plan, list[RunFolder]], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    _, [first, _] = runs
    before = curves(first)
    monkeypatch.setattr(shelf.Shelf, "get", lambda *_: content)
    same(again(first).test, before.test)


def test_files_that_are_new_are_not_kept(runs: tuple[Plan, list[RunFolder]], tmp_path: Path) -> None:
    _, [first, _] = runs
    age(first, 0.0)
    curves(first)
    keep(first.path.parent)
    assert not list((tmp_path / "cache").rglob("*.sqlite"))


def test_a_cache_that_cannot_be_written_is_no_error(runs: tuple[Plan, list[RunFolder]], tmp_path: Path) -> None:
    _, [first, _] = runs
    (tmp_path / "cache").write_text("a file")
    curves(first)
    assert again(first).test.of(["student"])[:, 0].tolist() == [50.0, 60.0]


def test_metrics_with_their_hash_are_read_as_those_without(runs: tuple[Plan, list[RunFolder]]) -> None:
    _, [first, _] = runs
    record = json.loads((first.path / "record.json").read_text())
    record["metrics_sha256"] = hashlib.sha256((first.path / "metrics.jsonl").read_bytes()).hexdigest()
    before = curves(first)
    (first.path / "record.json").write_text(json.dumps({**record, "schema": 2}))
    age(first, 60.0)
    same(again(first).test, before.test)
    text = (first.path / "metrics.jsonl").read_text().replace("60.0", "600.0")
    (first.path / "metrics.jsonl").write_text(text)
    record["metrics_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (first.path / "record.json").write_text(json.dumps({**record, "schema": 2}))
    with pytest.raises(UsageError, match=r"metrics\.jsonl"):
        again(first)

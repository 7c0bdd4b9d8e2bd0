import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commandline import Command

from okdbench.config import RunConfig
from okdbench.runs.lease import held
from okdbench.runs.weights import fingerprint

PUBLISHED = Path(__file__).parents[2] / "results" / "quickstart"
RUNS = sorted(path.name for path in PUBLISHED.glob("*.baseline.*"))
Change = Callable[[dict[str, Any], list[dict[str, Any]]], object]


def put(results: str, run: int = 0, change: Change | None = None, recipe: str = "quickstart") -> Path:
    """A published run in a results folder, with its record and metrics changed and hashed again."""
    folder = Path(shutil.copytree(PUBLISHED / RUNS[run], Path(results, recipe, RUNS[run])))
    if change:
        record = json.loads((folder / "record.json").read_text())
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        change(record, lines)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "metrics.jsonl").write_text(text)
        record["metrics_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        (folder / "record.json").write_text(json.dumps(record))
    return folder


def another_result(record: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    lines[1]["heads"]["student"]["ece"] += 0.5


def slower(record: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    record.update(wall_seconds=99.0, images_per_second=7.0)
    lines[0]["seconds"] += 4.5


def unfinished(results: str, run: int) -> Path:
    folder = put(results, run)
    (folder / "record.json").unlink()
    return folder


def with_weights(results: str, run: int = 0) -> Path:
    """A run with weights of which the record has the hash."""
    state = {"weight": torch.ones(2)}
    folder = put(results, run, lambda record, lines: record.update(weights_sha256=fingerprint(state)))
    torch.save(state, folder / "weights.pt")
    return folder


def test_runs_of_two_machines_come_together(okdbench: Command) -> None:
    here, there, third = put("a", 0), with_weights("b", 1), put("c", 2)
    running = unfinished("b", 3)
    trial = okdbench("results", "merge", "b", "c", "--results", "a", "--dry-run")
    assert trial.status == 0 and "2 runs to copy" in trial.out
    assert [path.name for path in Path("a/quickstart").iterdir()] == [here.name]
    done = okdbench("results", "merge", "b", "c", "--results", "a")
    assert (done.status, done.err) == (0, "")
    assert "a: 2 runs copied, 1 run not finished, left out" in done.out
    assert f"{running}: interrupted" in done.out
    assert {path.name for path in Path("a/quickstart").iterdir()} == {here.name, there.name, third.name}
    assert (here.parent / there.name / "weights.pt").read_bytes() == (there / "weights.pt").read_bytes()
    assert "2 runs here already, the same" in okdbench("results", "merge", "b", "c", "--results", "a").out


@pytest.mark.parametrize("recipe", ["quickstart", "other"])
def test_one_run_with_two_results_is_refused_and_both_are_named(recipe: str, okdbench: Command) -> None:
    ours, theirs = put("a", recipe=recipe), put("b", 0, another_result)
    before = (ours / "metrics.jsonl").read_text()
    done = okdbench("results", "merge", "b", "--results", "a")
    assert done.status == 1
    assert f"{ours} and {theirs} are the same run with different results" in done.out
    assert (ours / "metrics.jsonl").read_text() == before
    assert [path.name for path in Path("a").iterdir()] == [recipe]


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_two_sources_that_differ_are_a_conflict(options: tuple[str, ...], okdbench: Command) -> None:
    first, second = put("b"), put("c", 0, another_result)
    done = okdbench("results", "merge", "b", "c", "--results", "a", *options)
    there = first if options else Path("a", "quickstart", first.name)
    assert done.status == 1 and f"{there} and {second} are the same run with different results" in done.out


@pytest.mark.parametrize("change", [slower, lambda record, lines: record.update(weights_sha256=None)])
def test_a_run_trained_again_is_the_same_whatever_its_times(change: Change, okdbench: Command) -> None:
    put("a")
    put("b", 0, change)
    done = okdbench("results", "merge", "b", "--results", "a")
    assert (done.status, done.out) == (0, "a: 1 run here already, the same\n")


def test_damaged_records_are_named_and_the_others_copied(okdbench: Command) -> None:
    bad, doubtful, good = put("b", 0), put("b", 1, lambda record, lines: lines[0].update(lr=7.0)), put("b", 2)
    (bad / "metrics.jsonl").write_text("")
    moved = Path("b/quickstart/elsewhere.000000000000")
    shutil.copytree(good, moved)
    done = okdbench("results", "merge", "b", "--results", "a")
    assert done.status == 1
    assert f"{bad / 'metrics.jsonl'}: not the metrics that this run has written; ask its sender" in done.out
    assert f"{doubtful}: epoch 0 has learning rate 7" in done.out
    assert f"{moved / 'record.json'}: is the record of run {good.name[-12:]}, not of this folder" in done.out
    assert [path.name for path in Path("a/quickstart").iterdir()] == [good.name]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"junk"), "damaged (File is not a zip file); ask its sender"),
        (lambda path: torch.save({"weight": torch.zeros(3)}, path), "not the weights whose hash"),
        (lambda path: path.mkdir(), "is no file; send the file itself"),
        (lambda path: path.symlink_to("/etc/hostname"), "is a symbolic link; send the file itself"),
        (os.mkfifo, "is no file; send the file itself"),
    ],
)
def test_weights_that_are_not_those_of_the_record_are_left_out(
    make: Callable[[Path], object], said: str, okdbench: Command
) -> None:
    folder = put("b")
    make(folder / "weights.pt")
    put("b", 1)
    done = okdbench("results", "merge", "b", "--results", "a")
    assert (done.status, done.err) == (0, "")
    assert f"{folder / 'weights.pt'}: left out, {said}" in done.out and "2 runs copied" in done.out
    assert not os.path.lexists(Path("a", "quickstart", folder.name, "weights.pt"))


def test_weights_without_a_hash_are_left_out(okdbench: Command) -> None:
    folder = with_weights("b")
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "weights_sha256": None}))
    done = okdbench("results", "merge", "b", "--results", "a")
    assert done.status == 0 and "left out, record.json has no hash to compare it with" in done.out


def test_a_run_in_work_here_and_one_that_is_damaged_here_are_left_alone(okdbench: Command) -> None:
    put("b", 0), put("b", 1)
    damaged = put("a", 1)
    (damaged / "record.json").write_text("x")
    target = Path("a", "quickstart", RUNS[0])
    target.mkdir()
    with held(target):
        done = okdbench("results", "merge", "b", "--results", "a")
    assert done.status == 1
    assert f"{target}: a worker trains it here now; merge again afterwards" in done.out
    assert f"{damaged / 'record.json'}: damaged" in done.out and "a worker trains" not in done.out.split("damaged")[1]


def test_a_results_folder_that_takes_no_files_is_named(okdbench: Command) -> None:
    put("b")
    Path("a").mkdir()
    Path("a/quickstart").write_text("")
    done = okdbench("results", "merge", "b", "--results", "a")
    assert done.status == 2 and "cannot be written" in done.err and "choose another folder with --results" in done.err


def test_wrong_folders_are_refused(okdbench: Command) -> None:
    put("a")
    assert "has no runs as DIR/RECIPE/RUN" in okdbench("results", "merge", "none", "--results", "a").err
    assert "is the results folder itself" in okdbench("results", "merge", "a", "--results", "a").err


def of_seed_99(folder: Path) -> Path:
    """A run's folder as another seed's, with times of its own."""
    config = json.loads((folder / "config.json").read_text()) | {"seed": 99}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    metrics = "".join(json.dumps({**line, "seconds": line["seconds"] + 1}) + "\n" for line in lines)
    run = RunConfig.model_validate(config)
    record = json.loads((folder / "record.json").read_text()) | {"id": run.id, "config": config, "wall_seconds": 1e6}
    record["metrics_sha256"] = hashlib.sha256(metrics.encode()).hexdigest()
    (folder / "metrics.jsonl").write_text(metrics)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "record.json").write_text(json.dumps(record))
    return folder.rename(folder.parent / run.folder)


@pytest.mark.parametrize("original", ["a", "b"])
@pytest.mark.parametrize("option", [[], ["--dry-run"]])
def test_a_copy_of_another_seed_is_left_out(original: str, option: list[str], okdbench: Command) -> None:
    put("a", 1)
    copied = of_seed_99(put("b"))
    first = put(original)
    done = okdbench("results", "merge", "b", "--results", "a", *option)
    assert (done.status, done.err) == (1, "")
    assert f"{copied}: has numbers of {first}, a run of another seed (epoch 0)" in done.out
    assert not Path("a", "quickstart", copied.name).exists()

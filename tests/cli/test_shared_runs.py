"""Two recipes with runs in common: what one has trained, the other takes over (a stub stands for the worker)."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from commandline import TINY, Command

from okdbench.plan import Run, Selection, expand
from okdbench.recipe import load

pytestmark = pytest.mark.usefixtures("stubbed")

ONE = ("-m", "baseline", "-s", "0")


def recipe(name: str, **changes: Any) -> tuple[Run, ...]:
    """The tiny recipe's baseline with two seeds as a recipe of one's own, NAME.yaml, and its runs."""
    content = yaml.safe_load(TINY.read_text())
    content["table"] = {}
    content["grid"]["method"] = ["baseline"]
    content |= changes
    Path(f"{name}.yaml").write_text(yaml.safe_dump(content))
    return expand(load(f"{name}.yaml"), Selection()).runs


def folder(name: str, run: Run) -> Path:
    return Path("results") / name / run.config.folder


def trained(name: str, run: Run) -> bool:
    """Whether a worker was started for the run under this recipe."""
    return (folder(name, run) / "stub.json").exists()


def test_a_run_of_another_recipe_is_not_trained_again(okdbench: Command) -> None:
    runs = recipe("second")
    assert [run.id for run in recipe("first")] == [run.id for run in runs]
    okdbench("run", "first.yaml", *ONE)
    status, out, err = okdbench("run", "second.yaml")
    assert status == 0 and not err
    assert "1 run taken over from first\n1 run to train on cpu" in out and "2 runs: 2 finished\n" in out
    assert [trained("second", run) for run in runs] == [False, True]
    record, copy = (folder(name, runs[0]) / "record.json" for name in ("first", "second"))
    assert copy.read_bytes() == record.read_bytes()
    assert "2 runs in results/second: 2 finished\n" in okdbench("status", "second.yaml").out
    assert okdbench("run", "second.yaml").out.startswith("2 runs: 2 finished\n")


def test_what_can_be_taken_over_is_told_and_nothing_changes(okdbench: Command) -> None:
    done, pending = recipe("second")
    recipe("first")
    okdbench("run", "first.yaml", *ONE)
    out = okdbench("run", "second.yaml", "--dry-run").out
    assert [line.split()[:3] for line in out.splitlines()[2:3]] == [[done.id, "pending", "first"]]
    assert "\n2 runs: 2 pending; 1 to take over from first, 1 to train, in this order\n" in out
    out = okdbench("status", "second.yaml").out
    assert "2 runs in results/second: 2 pending\n1 run done in first: run takes them over\n" in out
    facts = json.loads(okdbench("status", "second.yaml", "--format", "json").out)["runs"]
    assert facts[done.id]["done_in"] == f"results/first/{done.config.folder}"
    assert facts[pending.id]["done_in"] is None
    assert okdbench("report", "second.yaml").err == "second: 1 run done in first: run takes them over\n"
    assert not Path("results/second").exists()


def test_an_interrupted_run_gives_way_to_a_finished_one(okdbench: Command) -> None:
    run, _ = recipe("second")
    recipe("first")
    okdbench("run", "first.yaml", *ONE)
    folder("second", run).mkdir(parents=True)
    (folder("second", run) / "checkpoint-000000001.pt").write_text("")
    assert "1 run taken over from first" in okdbench("run", "second.yaml", *ONE).out
    assert not trained("second", run) and not list(folder("second", run).glob("checkpoint-*"))


def test_a_diverged_run_is_taken_over_with_its_reason(okdbench: Command) -> None:
    run, _ = recipe("first")
    recipe("second")
    folder("first", run).mkdir(parents=True)
    (folder("first", run) / "does").write_text("diverge")
    okdbench("run", "first.yaml", *ONE)
    out = okdbench("run", "second.yaml", *ONE).out
    assert "1 run taken over from first\n1 run: 1 diverged\n" in out
    assert "diverged before: loss is not finite; --force trains it again" in out


def test_force_trains_even_what_another_recipe_has(okdbench: Command) -> None:
    run, _ = recipe("first")
    recipe("second")
    okdbench("run", "first.yaml", *ONE)
    before = (folder("first", run) / "stub.json").read_text()
    assert "1 run to train" in okdbench("run", "second.yaml", *ONE, "--force").out
    assert trained("second", run) and (folder("first", run) / "stub.json").read_text() == before


def test_a_damaged_run_of_another_recipe_is_trained_here(okdbench: Command) -> None:
    run, _ = recipe("first")
    recipe("second")
    okdbench("run", "first.yaml", *ONE)
    (folder("first", run) / "record.json").write_text("{")
    status, out, _ = okdbench("run", "second.yaml", *ONE)
    assert status == 0 and "1 run to train" in out and trained("second", run)


def taught() -> tuple[Run, Run]:
    """A recipe "taught" whose teacher is a run of the recipe "teaching" as well; teacher and student."""
    grid = {"dataset": ["digits"], "network": ["resnet8"], "method": ["kd"]}
    teachers = {"kd": {"network": "resnet20", "method": "baseline"}}
    recipe("teaching", grid={**grid, "network": ["resnet20"], "method": ["baseline"]}, seeds=[0])
    teacher, student = recipe("taught", grid=grid, teachers=teachers, seeds=[0])
    return teacher, student


def test_a_teacher_comes_from_another_recipe_with_its_weights(okdbench: Command) -> None:
    teacher, student = taught()
    okdbench("run", "teaching.yaml")
    out = okdbench("run", "taught.yaml").out
    assert "1 run taken over from teaching\n1 run to train" in out and trained("taught", student)
    weights = folder("taught", teacher) / "weights.pt"
    assert not trained("taught", teacher)
    assert weights.read_text() == (folder("teaching", teacher) / "weights.pt").read_text()


def test_a_teacher_without_weights_is_trained_where_they_are_needed(okdbench: Command) -> None:
    teacher, _ = taught()
    okdbench("run", "teaching.yaml")
    weights = folder("teaching", teacher) / "weights.pt"
    weights.unlink()  # as in a clone of published records
    assert "2 runs to train" in okdbench("run", "taught.yaml").out
    recipe("again", **yaml.safe_load(Path("taught.yaml").read_text()))
    (folder("taught", teacher) / "weights.pt").unlink()
    out = okdbench("run", "again.yaml", "--dry-run").out
    assert "2 to take over from taught" in out, "a student that is done needs no teacher's weights"


def test_a_published_teacher_is_replaced_by_one_with_weights(okdbench: Command) -> None:
    teacher, student = taught()
    okdbench("run", "taught.yaml")
    (folder("taught", teacher) / "weights.pt").unlink()
    okdbench("run", "teaching.yaml", "--force")
    out = okdbench("run", "taught.yaml", "--force").out
    assert "old run moved to results/taught/replaced/" in out
    assert "1 run taken over from teaching\n1 run to train" in out and trained("taught", student)
    assert (folder("taught", teacher) / "weights.pt").exists() and not trained("taught", teacher)

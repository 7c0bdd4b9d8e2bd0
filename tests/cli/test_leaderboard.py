"""The leaderboard: finished runs of all recipes, accuracy beside cost."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from commandline import Command
from fabricate import run

from okdbench.plan import Plan, Selection, expand
from okdbench.recipe import load


def place(recipe: str, accuracies: dict[str, Sequence[float]], **settings: int) -> None:
    """Finished runs of a recipe that comes with okdbench, of the methods' first cells, in its folder of results."""
    plan = expand(load(recipe), Selection(methods=tuple(accuracies), settings=settings))
    assert isinstance(plan, Plan)
    for cell in plan.cells:
        for planned, value in zip(cell.runs, accuracies[cell.method], strict=False):
            folder = Path("results", recipe, planned.config.folder)
            if not folder.exists():
                folder.parent.mkdir(parents=True, exist_ok=True)
                run(Path("made"), planned.config, {"peer0": [value, value - 1]}, deployed="peer0").rename(folder)


@pytest.fixture
def placed(okdbench: Command) -> None:
    """DKEL above the baseline but dearer, and DML with one run and one epoch."""
    place("quickstart", {"baseline": (80.0, 81.0), "dkel": (85.0, 87.0)})
    place("quickstart", {"dml": (90.0,)}, **{"training.epochs": 1})


@pytest.mark.usefixtures("placed")
def test_rows_are_ranked_with_their_cost_and_their_changed_settings(okdbench: Command) -> None:
    status, out, _ = okdbench("leaderboard")
    assert status == 0
    rows = [line.split() for line in out.splitlines() if line.startswith("ResNet-8")]
    assert [row[1:3] for row in rows] == [["DML*", "quickstart"], ["DKEL", "quickstart"], ["Baseline", "quickstart"]]
    assert rows[1][3:] == ["2", "85.00", "±", "1.41", "4.00", "0.000278"] and rows[2][3:5] == ["2", "79.50"]
    assert "* changed settings: training.epochs=1." in out


@pytest.mark.usefixtures("placed")
def test_rows_are_chosen_and_sorted(okdbench: Command) -> None:
    def methods(*words: str) -> list[str]:
        facts = json.loads(okdbench("leaderboard", "--format", "json", *words).out)
        return [row["method"] for row in facts["rows"]]

    assert methods("--sort", "cost") == ["baseline", "dml", "dkel"]
    assert methods("--sort", "seeds", "-m", "dml", "-m", "dkel") == ["dkel", "dml"]
    assert methods("--min-seeds", "2", "-d", "digits-8x8", "-n", "resnet8") == ["dkel", "baseline"]
    status, _, err = okdbench("leaderboard", "-m", "dmk")
    assert status == 2 and '--method "dmk": no finished run has it; did you mean "dml"?' in err
    status, _, err = okdbench("leaderboard", "-m", "dml", "--min-seeds", "2")
    assert status == 2 and "no row is left of 3" in err


@pytest.mark.usefixtures("placed")
def test_programs_get_the_values_and_every_format_is_written(okdbench: Command) -> None:
    rows = list(csv.DictReader(okdbench("leaderboard", "--format", "csv", "--epoch", "best").out.splitlines()))
    assert [(row["label"], row["mean"], row["changed"]) for row in rows[1:2]] == [("dkel", "86.0", "")]
    assert rows[0]["changed"] == "training.epochs=1" and rows[1]["values"] == "85.0 87.0"
    assert okdbench("leaderboard", "-o", "board.tex").status == 0 and r"\toprule" in Path("board.tex").read_text()


def test_a_run_that_two_recipes_have_counts_once(okdbench: Command) -> None:
    place("quickstart", {"dml": (80.0, 81.0)})
    for folder in list(Path("results/quickstart").iterdir()):
        copy = Path("results/mine") / folder.name
        copy.mkdir(parents=True)
        for file in folder.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
    [row] = json.loads(okdbench("leaderboard", "--format", "json").out)["rows"]
    assert row["recipes"] == ["mine", "quickstart"] and row["seeds"] == [0, 1] and row["changed"] == []


def test_without_a_finished_run_the_next_command_is_named(okdbench: Command) -> None:
    status, _, err = okdbench("leaderboard")
    assert status == 2 and "results: no finished run; train some: okdbench run quickstart" in err


@pytest.mark.usefixtures("placed")
def test_a_damaged_run_is_named_and_the_others_are_ranked(okdbench: Command) -> None:
    damaged = sorted(Path("results/quickstart").glob("*dkel*/record.json"))[0]
    damaged.write_text("{")
    torn = sorted(Path("results/quickstart").glob("*baseline*/metrics.jsonl"))[0]
    torn.write_text("")
    status, out, err = okdbench("leaderboard", "--format", "json")
    facts = json.loads(out)
    assert status == 1 and [(row["method"], row["seeds"]) for row in facts["rows"]] == [
        ("dml", [0]),
        ("dkel", [1]),
        ("baseline", [1]),
    ]
    for line, file, remedy in zip(
        facts["damaged"], (torn, damaged), ("--force", "delete it and run again"), strict=True
    ):
        assert str(file) in line and remedy in line and f"damaged: {line}\n" in err

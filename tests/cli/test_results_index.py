import json
import shutil
from pathlib import Path

import fabricate
from commandline import Command
from json_page import require_documented

from okdbench.plan import Selection, expand
from okdbench.recipe import load

PUBLISHED = Path(__file__).parents[2] / "results"


def test_every_published_run_is_in_the_index_with_a_command_that_plans_it(okdbench: Command) -> None:
    status, out, _ = okdbench("results", "index", "--results", str(PUBLISHED), "--format", "json")
    assert status == 0
    require_documented(out, "okdbench.index/1")
    content = json.loads(out)
    runs = {path.parent.name.rpartition(".")[2] for path in PUBLISHED.glob("*/*/record.json")}
    assert {run for holding in content["holdings"] for run in holding["ids"]} == runs
    for holding in content["holdings"]:
        words = [holding["recipe"], *holding["options"]]
        shown = okdbench("show", *words, "--resolved")
        assert all(run in shown.out for run in holding["ids"]), holding["recipe"]


def test_part_of_a_recipe_is_told_with_its_command(okdbench: Command, tmp_path: Path) -> None:
    plan = expand(load("small-cifar100"), Selection(methods=("kd",), seeds=(0,)))
    for run in plan.runs:
        fabricate.run(tmp_path / "results", run.config, {"student": [1.0, 2.0]}, recipe="small-cifar100")
    done = okdbench("results", "index")
    assert done.status == 0
    assert "okdbench run small-cifar100 -m kd -s 0" in done.out
    assert f" {len(plan.runs)} " in done.out and f"{len(plan.runs)} of" not in done.out


def test_damaged_runs_are_named_and_recipes_that_are_not_known_are_listed(okdbench: Command, tmp_path: Path) -> None:
    good = tmp_path / "results" / "mine" / sorted((PUBLISHED / "quickstart").iterdir())[0].name
    shutil.copytree(PUBLISHED / "quickstart" / good.name, good)
    bad = tmp_path / "results" / "mine" / sorted((PUBLISHED / "quickstart").iterdir())[1].name
    shutil.copytree(PUBLISHED / "quickstart" / bad.name, bad)
    (bad / "metrics.jsonl").write_text("")
    done = okdbench("results", "index")
    assert done.status == 1
    assert "damaged:" in done.err and bad.name in done.err
    assert "mine: 1 run that no setting of a recipe known here explains." in done.out

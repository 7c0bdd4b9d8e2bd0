"""``okdbench plan``: a part of the recipe, what it can tell, and the command that trains it."""

import json
from pathlib import Path

import fabricate
import pytest
from commandline import Command

from okdbench.plan import expand
from okdbench.recipe import load


@pytest.mark.slow
def test_the_part_its_difference_and_the_command(okdbench: Command) -> None:
    status, out, _ = okdbench("plan", "dkel-table1", "--hours", "1000", "-m", "baseline", "-m", "dkel")
    words = " ".join(out.split())
    assert status == 0 and "by a model of plain eager training" in words
    assert "60 runs of 60: about " in words and "n = 3 seeds detect a difference of " in words
    assert "as in the paper's printed ±" in words
    *_, last = out.splitlines()
    assert last.startswith("run: okdbench run dkel-table1 -d cifar10 -d cifar100 -n resnet32 ")
    assert last.endswith(" -m baseline -m dkel -s 0 -s 1 -s 2")
    assert "60 to train" in okdbench(*last.split()[2:], "--dry-run").out


def test_nothing_fits(okdbench: Command) -> None:
    status, out, _ = okdbench("plan", "quickstart", "--hours", "0")
    assert status == 1 and "nothing smaller is fair" in out and "A single seed says nothing" in out
    reduced = okdbench("plan", "quickstart", "--hours", "0", "-m", "dkel", "-s", "0").out
    assert "such as: okdbench plan quickstart --hours 0 -m dkel -s 0 --epochs 1\n" in reduced
    facts = json.loads(okdbench("plan", "quickstart", "--hours", "0", "--format", "json").out)
    assert (facts["schema"], facts["fits"], facts["noise"]) == ("okdbench.plan/1", False, None)


def test_the_noise_of_finished_runs(okdbench: Command) -> None:
    plan = expand(load("quickstart"))
    fabricate.table(Path("results"), plan, epochs=4)
    facts = json.loads(okdbench("plan", "quickstart", "--hours", "0", "--format", "json").out)
    assert facts["fits"] and facts["part"]["runs"] == len(plan.runs) and facts["part"]["hours"] == 0
    assert facts["noise"]["source"] == "records" and facts["detectable"] > facts["noise"]["std"]


def test_what_trains_nothing_has_no_hours(okdbench: Command) -> None:
    status, _, err = okdbench("plan", "dkel-figure5", "--hours", "8")
    assert status == 2 and "okdbench show dkel-figure5" in err
    status, _, err = okdbench("plan", "quickstart", "--hours", "8", "--on", "Some GPU")
    assert status == 2 and "choose from: one H200" in err

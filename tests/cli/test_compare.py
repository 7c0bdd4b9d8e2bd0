"""Two methods against each other: numbers, a sentence, a figure."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from commandline import Command
from fabricate import RECIPE, run

from okdbench.plan import Plan, expand
from okdbench.recipe import load

FINAL = {  # accuracies of seeds 0, 1 and 2
    ("resnet8", "baseline"): (70.0, 71.0, 72.0),
    ("resnet8", "dkel"): (74.0, 75.1, 75.9),
    ("resnet32", "baseline"): (80.0, 81.0, 82.0),
    ("resnet32", "dkel"): (81.0, 80.6, 82.8),
}


@pytest.fixture
def measured(okdbench: Command, tmp_path: Path) -> None:
    """DKEL far above the baseline on ResNet-8, and a little on ResNet-32."""
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    plan = expand(load(path))
    assert isinstance(plan, Plan)
    for cell in plan.cells:
        for planned, value in zip(cell.runs, FINAL[cell.network, cell.method], strict=True):
            run(Path("results"), planned.config, {"student": [1.0, value]})


@pytest.mark.usefixtures("measured")
def test_differences_are_paired_and_corrected_and_said_in_words(okdbench: Command) -> None:
    facts = json.loads(okdbench("compare", "small.yaml", "dkel", "baseline", "--format", "json").out)
    small, large = facts["cells"]
    assert (small["difference"], large["difference"]) == (pytest.approx(4.0), pytest.approx(1.4 / 3))
    assert small["holm_p_value"] == pytest.approx(2 * small["p_value"]) and small["sign_flip_p_value"] == 0.25
    assert small["decided"] and not large["decided"]
    assert facts["overall"]["summary"]["mean"] == pytest.approx((4.0 + 1.4 / 3) / 2)
    decided, open_ = facts["sentences"]
    assert (
        decided.startswith("ResNet-8 CIFAR-100: DKEL is 4.00 points above Baseline (n = 3, ") and "decided." in decided
    )
    needed = large["seeds_needed"]
    said = f"not decided; a difference of this size needs about n = {needed} seeds, tested alone"
    assert open_.endswith(f"{said}, and small has 3; a recipe that extends it can have more.")
    Path("more.yaml").write_text(f"title: More\nextends: small.yaml\nseeds: {list(range(100))}\n")
    Path("results/small").rename("results/more")
    more = json.loads(okdbench("compare", "more.yaml", "dkel", "baseline", "--format", "json").out)["sentences"][1]
    seeds = " ".join(f"-s {seed}" for seed in range(3, needed))
    assert more.endswith(f"{said}; run: okdbench run more.yaml -m dkel -m baseline {seeds}")


def fabricated(tops: dict[str, tuple[float, ...]], **changes: object) -> None:
    """One network, its methods' accuracies of seeds 0, 1 and 2 at the last epoch, each best before by half a point."""
    grid = {"dataset": ["cifar100"], "network": ["resnet8"], "method": list(tops)}
    protocol = {"default": {"head": "student", "epoch": "last"}}
    Path("small.yaml").write_text(yaml.safe_dump({**RECIPE, "grid": grid, "protocol": protocol, **changes}))
    plan = expand(load("small.yaml"))
    assert isinstance(plan, Plan)
    for cell in plan.cells:
        for planned, value in zip(cell.runs, tops[cell.method], strict=False):
            if not (Path("results") / "small" / planned.config.folder).exists():
                run(Path("results"), planned.config, {"student": [value + 0.5 + planned.config.seed / 10, value]})


def compared(okdbench: Command, *words: str) -> tuple[dict[str, Any], str]:
    """The facts of the one cell compared, and the sentence."""
    facts = json.loads(okdbench("compare", "small.yaml", *words, "--format", "json").out)
    return facts["cells"][0], facts["sentences"][0]


def test_equal_differences_are_no_single_seed_and_no_proof(okdbench: Command) -> None:
    fabricated({"baseline": (70.0, 71.0, 72.0), "dkel": (70.5, 71.5, 72.5)})
    found, said = compared(okdbench, "dkel", "baseline")
    assert (found["n"], found["p_value"], found["sign_flip_p_value"]) == (3, None, 0.25)
    assert "sign-flip p = 0.250); the seeds differ by the same, so a t-test has no p" in said and "single" not in said


def test_the_best_of_a_run_is_not_tested_against_the_run(okdbench: Command) -> None:
    fabricated({"dkel": (70.0, 71.0, 72.3)}, readings={"best": {"epoch": "best"}})
    for pair in (("dkel@best", "dkel"), ("dkel", "dkel@best")):
        found, said = compared(okdbench, *pair)
        assert (found["p_value"], found["holm_p_value"], found["decided"]) == (None, None, False)
        assert "best on the test set of what the other reads, so there is nothing to test." in said
    status, _, err = okdbench("compare", "small.yaml", "dkel", "dkel@best", "--protocol", "last")
    assert status == 2 and "dkel@best is read like the recipe's own reading" in err and "in common" not in err


def test_both_means_are_accuracies_over_the_common_seeds(okdbench: Command) -> None:
    place = {"dataset": "cifar100", "network": "resnet8"}
    printed = {"metric": "error", "cells": [{**place, "method": "baseline", "mean": 29.0}]}
    fabricated({"baseline": (70.0, 71.0), "dkel": (70.5, 71.9, 90.0)}, reported=printed)
    found, said = compared(okdbench, "dkel", "baseline")
    assert (found["n"], found["first_mean"], found["second_mean"]) == (2, pytest.approx(71.2), pytest.approx(70.5))
    assert found["difference"] == pytest.approx(0.7) and "0.70 points above" in said
    table = okdbench("compare", "small.yaml", "dkel", "baseline").out
    assert "71.20" in table and "70.50" in table and "29.50" not in table
    assert "leave out -s to compare all seeds" in compared(okdbench, "dkel", "baseline", "-s", "0")[1]


def test_a_pair_that_lacks_a_test_corrects_no_other(okdbench: Command) -> None:
    grid = {"dataset": ["cifar100"], "network": ["resnet8", "resnet32"], "method": ["baseline", "dkel"]}
    Path("small.yaml").write_text(yaml.safe_dump({**RECIPE, "grid": grid}))
    plan = expand(load("small.yaml"))
    assert isinstance(plan, Plan)
    for cell in plan.cells:
        for planned, value in zip(cell.runs, FINAL[cell.network, cell.method], strict=True):
            if (cell.network, cell.method, planned.config.seed > 0) not in (
                ("resnet32", "dkel", True),
                ("resnet32", "baseline", False),
            ):
                run(Path("results"), planned.config, {"student": [1.0, value]})
    said = json.loads(okdbench("compare", "small.yaml", "dkel", "baseline", "--format", "json").out)["sentences"]
    assert "of this pair alone" in said[0] and "no seed of DKEL and Baseline is finished in both" in said[1]


@pytest.mark.usefixtures("measured")
def test_head_and_epoch_can_be_chosen(okdbench: Command) -> None:
    words = ("compare", "small.yaml", "dkel", "baseline", "--format", "json")
    averaged, last = (json.loads(okdbench(*words, "--epoch", epoch).out)["cells"][0] for epoch in ("last-2", "last"))
    assert averaged["difference"] == pytest.approx(last["difference"] / 2), "the first epochs are equal"
    status, _, err = okdbench(*words, "--head", "student", "--protocol", "last")
    assert status == 2 and "--protocol last: chooses head and epoch" in err
    assert "did you mean" in okdbench(*words, "--head", "studnt").err


@pytest.mark.usefixtures("measured")
def test_the_order_of_the_methods_turns_the_sign_and_the_figure_is_drawn(okdbench: Command) -> None:
    status, out, err = okdbench("compare", "small.yaml", "baseline", "dkel", "-n", "resnet8", "--figure", "a.png")
    assert (status, err) == (0, "figure: a.png\n") and Path("a.png").stat().st_size > 5_000
    assert "Baseline is 4.00 points below DKEL" in " ".join(out.split())


@pytest.mark.usefixtures("measured")
def test_mistakes_are_answered_in_a_line(okdbench: Command) -> None:
    for words, message in (
        (("small.yaml", "dkel", "dkel"), "dkel: is compared with itself"),
        (("small.yaml", "dkel", "dkle"), "dkle"),
        (("small.yaml", "dkel", "baseline", "-m", "dml"), "leave out --method"),
        (("dkel-figure5", "dkel", "pcl"), "dkel-figure5"),
        (("small.yaml", "dkel", "baseline", "--figure", "a.jpg"), "ends in .svg, .png or .pdf"),
    ):
        status, out, err = okdbench("compare", *words)
        assert (status, out) == (2, "") and message in err and "Traceback" not in err


def test_without_runs_the_command_that_makes_them_is_named(okdbench: Command) -> None:
    status, out, _ = okdbench("compare", "quickstart", "dkel", "dml")
    assert status == 0 and "run: okdbench run quickstart -m dkel -m dml" in " ".join(out.split())

"""Two recipes side by side: report --compare."""

import json
from pathlib import Path

import pytest
import yaml
from commandline import Command
from fabricate import RECIPE, run

from okdbench.plan import expand
from okdbench.recipe import load

CELL = {"dataset": "cifar100", "network": "resnet8", "method": "dkel"}


@pytest.fixture
def two(okdbench: Command, tmp_path: Path) -> None:
    """One recipe, and another whose DKEL is trained for four epochs instead of two, and which prints errors."""
    other = {
        **RECIPE,
        "grid": {**RECIPE["grid"], "network": ["resnet8"]},
        "overrides": [{"when": {"method": "dkel"}, "set": {"training.epochs": 4}}],
        "reported": {"metric": "error", "cells": [{**CELL, "mean": 30.0, "std": 0.2}]},
    }
    for name, recipe in (("first", RECIPE), ("second", other)):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(recipe))
        for planned in expand(load(path)).runs:
            top1 = 70.0 + planned.config.seed + (name == "second")
            run(Path("results"), planned.config, {"student": [top1] * planned.config.epochs}, recipe=name)


@pytest.mark.usefixtures("two")
def test_shared_cells_and_the_settings_that_differ(okdbench: Command) -> None:
    facts = json.loads(okdbench("report", "first.yaml", "--compare", "second.yaml", "--format", "json").out)
    assert (facts["schema"], facts["first"], facts["second"]) == ("okdbench.tables/1", "first", "second")
    baseline, dkel = facts["cells"]
    assert (baseline["network"], baseline["method"], dkel["method"]) == ("resnet8", "baseline", "dkel")
    assert (dkel["first_mean"], dkel["second_mean"], dkel["second_reported_mean"]) == (71.0, 28.0, 30.0)
    assert dkel["differences"] == ["training.epochs: 2 | 4", "metric: accuracy | error"]
    assert baseline["differences"] == ["metric: accuracy | error"]
    status, out, _ = okdbench("report", "first.yaml", "--compare", "second.yaml")
    [row] = [line for line in out.splitlines() if "DKEL" in line and "±" in line]
    assert status == 0 and row.split()[3:] == ["71.00", "±", "1.00", "—", "28.00", "±", "1.00", "30.00", "±", "0.20"]
    assert "DKEL: training.epochs: 2 | 4; metric: accuracy | error." in out


@pytest.mark.usefixtures("two")
def test_what_cannot_be_set_side_by_side_is_said(okdbench: Command) -> None:
    for words, message in (
        (("report", "first.yaml", "--compare", "quickstart"), "first and quickstart share no cell"),
        (("report", "first.yaml", "--compare", "dkel-figure5"), "dkel-figure5 trains no networks"),
        (("report", "--compare", "quickstart"), "--compare quickstart: is for one recipe; name it"),
    ):
        status, _, err = okdbench(*words)
        assert status == 2 and message in err

"""Linear probes through the verbs: the training comes first, and both are done once."""

import json
from pathlib import Path

import pytest
import yaml
from commandline import Command

RECIPE = {
    "title": "Probes of digits",
    "kind": "probe",
    "grid": {"dataset": "digits", "network": "resnet8", "method": "baseline"},
    "seeds": 0,
    "training": {"epochs": 1, "batch_size": 32, "optimizer": {"lr": 0.1}, "schedule": {"name": "cosine"}},
    "data": {"subset": 64, "test_subset": 20},
    "probe": {
        "source": "digits",
        "view": "whole",
        "training": {"epochs": 2},
        "data": {"subset": 64, "test_subset": 20},
    },
    "table": {"rows": "network", "columns": "method"},
}


def write(**changes: object) -> None:
    Path("probes.yaml").write_text(yaml.safe_dump({**RECIPE, **changes}))


@pytest.mark.slow
def test_a_probe_from_the_recipe_to_the_report(okdbench: Command) -> None:
    write()
    assert "1 cell, 2 runs" in okdbench("validate", "probes.yaml").out
    assert "2 to train" in okdbench("run", "probes.yaml", "--dry-run").out
    done = okdbench("run", "probes.yaml")
    assert done.status == 0, done.err
    [folder] = Path("results/probes").glob("digits.resnet8.baseline.probe.s0.*")
    assert json.loads((folder / "record.json").read_text())["heads"] == ["student"]
    assert "nothing to do" in okdbench("run", "probes.yaml", "--dry-run").out
    assert "(source)" in okdbench("status", "probes.yaml").out
    [report] = json.loads(okdbench("report", "probes.yaml", "--format", "json").out)["reports"]
    [cell] = report["cells"]
    assert (cell["n"], cell["head"], cell["verdict"]) == (1, "student", "no reported number")
    told = okdbench("report", "probes.yaml", "--style", "paper", "--format", "markdown").out
    assert "linear classifier, trained for 2 epochs on whole images" in told
    assert "Training of the networks on Digits: 1 epoch of SGD" in told
    assert okdbench("results", "verify", "results").status == 0
    write(probe={**RECIPE["probe"], "training": {"epochs": 3}})  # type: ignore[dict-item]
    assert "1 finished, 1 pending" in okdbench("run", "probes.yaml", "--dry-run").out


def test_plan_and_cost_need_no_training(okdbench: Command) -> None:
    write()
    resolved = okdbench("show", "probes.yaml", "--resolved")
    assert resolved.status == 0, resolved.err
    assert "resnet8 baseline seed 0 (probe of digits)" in resolved.out
    cost = json.loads(okdbench("show", "probes.yaml", "--cost", "--format", "json").out)["cost"]
    assert [each["parameters"] for each in cost] == [650]


def test_options_of_probes_are_checked_in_the_users_words(okdbench: Command) -> None:
    write()
    wrong = okdbench("run", "probes.yaml", "--set", "probe.view=half")
    assert wrong.status == 2
    assert '--set probe.view="half": there is no "half"' in wrong.err
    assert "--set probe.epochs=3: unknown setting" in okdbench("show", "probes.yaml", "--set", "probe.epochs=3").err

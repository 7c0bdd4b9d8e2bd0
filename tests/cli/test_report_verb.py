"""The verb around the report: which recipes, where to, and --check."""

import csv
import json
from pathlib import Path

import pytest
import yaml
from commandline import Command
from fabricate import RECIPE, run

from okdbench.plan import expand
from okdbench.recipe import load

REPORTED = {
    "metric": "accuracy",
    "cells": [{"dataset": "cifar100", "network": "resnet8", "method": "baseline", "mean": 71.0, "std": 0.2, "n": 3}],
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A recipe with one reported number."""
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, "reported": REPORTED}))
    return path


def measure(recipe: Path, *accuracies: float) -> None:
    """Finished runs of the cell with the reported number."""
    cell = next(cell for cell in expand(load(recipe)).cells if cell.reported)
    for planned, accuracy in zip(cell.runs, accuracies, strict=False):
        run(Path("results"), planned.config, {"student": [accuracy - 1, accuracy]})


def test_check_passes_where_every_number_is_reproduced(small: Path, okdbench: Command) -> None:
    measure(small, 70.9, 71.0, 71.2)
    status, out, err = okdbench("report", "small.yaml", "--check")
    assert status == 0 and "71.03 ± 0.15" in out and "71.00 ± 0.20" in out
    assert err == "check: 1 of 1 reported number reproduced\n"


@pytest.mark.parametrize("accuracies", [(60.0, 60.1, 60.2), (71.0, 71.0), ()])
def test_check_fails_where_one_is_lower_or_incomplete(
    accuracies: tuple[float, ...], small: Path, okdbench: Command
) -> None:
    measure(small, *accuracies)
    assert okdbench("report", "small.yaml").status == 0
    status, _, err = okdbench("report", "small.yaml", "--check")
    assert status == 1 and err.startswith("check: 0 of 1 reported number reproduced\n  small: cifar100 / resnet8 /")


def test_check_says_when_there_is_nothing_to_check(okdbench: Command) -> None:
    status, _, err = okdbench("report", "quickstart", "--check")
    assert status == 0 and err == "check: there is no reported number to compare with\n"


def test_check_needs_one_number_for_each_cell(okdbench: Command) -> None:
    assert okdbench("report", "quickstart", "--check", "--protocol", "all").status == 2


def test_formats_for_programs_are_whole_documents(small: Path, okdbench: Command) -> None:
    measure(small, 70.9, 71.0, 71.2)
    facts = json.loads(okdbench("report", "small.yaml", "--format", "json", "--check").out)
    assert facts["reports"][0]["cells"][0]["verdict"] == "reproduced"
    rows = list(csv.DictReader(okdbench("report", "small.yaml", "--format", "csv").out.splitlines()))
    assert rows[0]["n"] == "3"


def test_output_goes_to_a_file(small: Path, okdbench: Command) -> None:
    printed = okdbench("report", "small.yaml", "--format", "markdown").out
    status, out, _ = okdbench("report", "small.yaml", "--format", "markdown", "-o", "tables/small.md")
    assert status == 0 and out == "tables/small.md written\n"
    assert Path("tables/small.md").read_text() == printed


def test_output_to_an_impossible_file_is_refused(small: Path, okdbench: Command) -> None:
    status, _, err = okdbench("report", "small.yaml", "-o", "small.yaml/table.md")
    assert status == 2 and "cannot be written" in err


def test_without_a_recipe_all_that_have_results_are_reported(okdbench: Command, tmp_path: Path, small: Path) -> None:
    measure(small, 70.9)
    [first, *_] = expand(load("quickstart")).runs
    made = run(Path("elsewhere"), first.config, {"student": [50.0]})
    (tmp_path / "results" / "quickstart").mkdir(parents=True)
    made.rename(tmp_path / "results" / "quickstart" / first.config.folder)
    status, out, err = okdbench("report")
    assert status == 0 and out.startswith("Quickstart: ") and "50.00" in out
    assert err.startswith("results/small: belongs to a recipe of your own")


def test_without_any_results_there_is_nothing_to_report(okdbench: Command) -> None:
    status, _, err = okdbench("report")
    assert status == 2 and "okdbench run quickstart" in err

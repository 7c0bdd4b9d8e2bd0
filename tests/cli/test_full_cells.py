import re
from pathlib import Path

import pytest
from commandline import Command
from pages import tables

from okdbench.plan import Selection, expand
from okdbench.recipe import load

PAGE = Path(__file__).parents[2] / "docs" / "full-cells.md"
[ROWS] = tables(PAGE.read_text())


QUICK = [row for row in ROWS if int(row["runs"]) < 50]
SLOW = [pytest.param(row, marks=pytest.mark.slow) for row in ROWS if row not in QUICK]


def test_a_smoke_run_is_as_said() -> None:
    said = (
        "trains eight runs for a moment on a few images: ResNet-32 on CIFAR-10 with each of the eight methods, seed 0."
    )
    assert said in " ".join(PAGE.read_text().split())
    runs = expand(load("dkel-table1"), Selection(smoke=True)).runs
    assert {(run.config.dataset, run.config.network, run.config.seed) for run in runs} == {("cifar10", "resnet32", 0)}
    assert len({run.config.method for run in runs}) == len(runs) == 8


@pytest.mark.parametrize("row", [*QUICK, *SLOW], ids=lambda row: row["what it tells"])
def test_runs_and_hours_are_those_of_the_plan(row: dict[str, str], okdbench: Command) -> None:
    program, *words = row["command"].split()
    assert program == "okdbench"
    said = okdbench(*words, "--dry-run").out
    assert f"{row['runs']} run{'s' if row['runs'] != '1' else ''}: " in said
    number, unit = re.search(r"about ([\d.]+) (minutes|hours)", said).groups()
    assert float(row["hours"]) == pytest.approx(float(number) / (60 if unit == "minutes" else 1), abs=0.06)

import re
from pathlib import Path

import pytest
from commandline import Command
from pages import tables

PAGE = Path(__file__).parents[2] / "docs" / "full-cells.md"
[ROWS] = tables(PAGE.read_text())


QUICK = [row for row in ROWS if int(row["runs"]) < 50]
SLOW = [pytest.param(row, marks=pytest.mark.slow) for row in ROWS if row not in QUICK]


@pytest.mark.parametrize("row", [*QUICK, *SLOW], ids=lambda row: row["what it tells"])
def test_runs_and_hours_are_those_of_the_plan(row: dict[str, str], okdbench: Command) -> None:
    program, *words = row["command"].split()
    assert program == "okdbench"
    said = okdbench(*words, "--dry-run").out
    assert f"{row['runs']} run{'s' if row['runs'] != '1' else ''}: " in said
    number, unit = re.search(r"about ([\d.]+) (minutes|hours)", said).groups()
    assert float(row["hours"]) == pytest.approx(float(number) / (60 if unit == "minutes" else 1), abs=0.06)

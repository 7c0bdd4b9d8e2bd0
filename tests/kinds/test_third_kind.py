"""A kind that okdbench does not know, in one file (that of the page on adding a kind), through every verb."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, files


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sizes")
    for name, text in files((ROOT / "docs" / "add-a-kind.md").read_text()).items():
        (folder / name).write_text(text)
    return folder


def okdbench(folder: Path, *words: str, status: int = 0) -> str:
    command = [sys.executable, "-m", "okdbench", "--plugin", "sizes.py", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_a_kind_of_ones_own_needs_one_file(here: Path) -> None:
    okdbench(here, "run", "some-sizes.yaml", "--jobs-per-device", "2")
    assert sizes(here)["resnet8"] < sizes(here)["resnet20"]


def sizes(here: Path) -> dict[str, int]:
    shown = json.loads(okdbench(here, "report", "some-sizes.yaml", "--format", "json"))
    return {row["network"]: row["parameters"] for row in shown["reports"][0]["sizes"]}


@pytest.mark.slow
def test_every_verb_knows_it(here: Path) -> None:
    assert "2 cells, 2 runs" in okdbench(here, "validate", "some-sizes.yaml")
    assert "resnet8, resnet20" in okdbench(here, "show", "some-sizes.yaml")
    assert "2 to count" in okdbench(here, "run", "some-sizes.yaml", "--results", "new", "--dry-run")
    okdbench(here, "run", "some-sizes.yaml")
    assert "2 finished" in okdbench(here, "status", "some-sizes.yaml")
    assert "nothing to do" in okdbench(here, "run", "some-sizes.yaml", "--dry-run")
    number = str(sizes(here)["resnet20"])
    for format in ("text", "markdown", "latex", "csv"):
        assert number in okdbench(here, "report", "some-sizes.yaml", "--format", format).replace(",", "")


def test_mistakes_are_answered_as_those_of_any_recipe(here: Path) -> None:
    (here / "wrong.yaml").write_text("title: x\nkind: sizes\nnetwork: [resnet8]\n")
    assert 'wrong.yaml:3: network: unknown key; did you mean "networks"?' in okdbench(
        here, "validate", "wrong.yaml", status=2
    )
    (here / "other.yaml").write_text("title: x\nkind: size\n")
    assert 'there is no "size"; did you mean "sizes"?' in okdbench(here, "validate", "other.yaml", status=2)

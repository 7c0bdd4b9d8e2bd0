"""Every recipe's smoke run: its cells train, leave records and come out in the report."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import PATIENCE

from okdbench import worker
from okdbench.plan import Selection, expand
from okdbench.recipe import available, load
from okdbench.report import build, render

QUICK = ("quickstart", "ffl-cifar", "one-table1", "pcl-table1", "small-cifar100")
"""The others are left to the slow tests, where all pass through the command line, too."""


@pytest.fixture
def signals() -> Iterator[None]:
    """The worker installs signal handlers; the test process gets its own back."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in available()]
)
def test_smoke(name: str, data_root: Path, tmp_path: Path) -> None:
    plan = expand(load(name), Selection(smoke=True, data_present=lambda dataset: dataset.startswith("digits")))
    for run in plan.runs:
        folder = tmp_path / name / run.config.folder
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(run.config.model_dump_json())
        assert worker.main([str(folder), "--data", str(data_root)]) == worker.Exit.done
    report = build(plan, tmp_path)
    assert render([report], "markdown")
    (content,) = json.loads(render([report], "json"))["reports"]
    assert content["recipe"] == name
    if content.get("cells"):
        assert all(cell["n"] == 1 for cell in content["cells"] if cell["planned"])


@pytest.mark.slow
@pytest.mark.parametrize("name", available())
def test_smoke_through_the_command_line(name: str, data_root: Path, tmp_path: Path) -> None:
    places = ["--data", str(data_root), "--results", str(tmp_path)]
    for arguments in (["run", name, "--smoke", *places], ["report", name, "--smoke", *places]):
        subprocess.run(
            [sys.executable, "-m", "okdbench", *arguments], check=True, timeout=PATIENCE, capture_output=True
        )

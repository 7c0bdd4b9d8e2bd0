"""The identity of runs whose method or network comes from a plugin, as each new process plans them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from commandline import TINY
from patience import PATIENCE

ROOT = Path(__file__).parent.parent.parent
METHOD = """
from okdbench.methods.baseline import Baseline

class Mine(Baseline):
    name = "mine"
"""
NETWORK = """
from dataclasses import replace
from okdbench.networks import resnet

ARCHITECTURES = [replace(resnet.ARCHITECTURES[0], name="plain")]
"""
Runs = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(autouse=True)
def recipe(tmp_path: Path) -> None:
    """mine.yaml: two methods on two networks, one seed."""
    content = yaml.safe_load(TINY.read_text())
    content["seeds"] = [0]
    content["grid"] |= {"network": ["resnet8", "plain"], "method": ["baseline", "mine"]}
    content["table"] = {"rows": "method", "columns": "network"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))


def planned(folder: Path, **files: str) -> Runs:
    """The runs of mine.yaml that can be trained with these plugin files, by network and method."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    plugins = [word for name in files for word in ("--plugin", f"{name}.py")]
    command = [sys.executable, "-m", "okdbench", *plugins, "show", "mine.yaml", "--resolved", "--format", "json"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    shown = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert shown.returncode == 0, shown.stderr
    return {(run["network"], run["method"]): run for run in json.loads(shown.stdout)["resolved"]}


@pytest.mark.slow
def test_the_content_of_a_plugin_is_part_of_the_identity_of_its_own_runs(tmp_path: Path) -> None:
    before = planned(tmp_path, method=METHOD, network=NETWORK)
    assert planned(tmp_path, method=METHOD, network=NETWORK) == before
    size = (tmp_path / "method.py").stat().st_size
    changed = planned(tmp_path, method=METHOD.replace("Mine", "Ours"), network=NETWORK)
    assert (tmp_path / "method.py").stat().st_size == size, "an older bytecode would have passed for it"
    for key, run in changed.items():
        assert (run["id"] == before[key]["id"]) == (key[1] == "baseline"), key
    changed = planned(tmp_path, method=METHOD, network=NETWORK + "# changed\n")
    for key, run in changed.items():
        assert (run["id"] == before[key]["id"]) == (key[0] == "resnet8"), key


@pytest.mark.slow
def test_runs_without_a_plugin_of_their_own_are_the_same_beside_one(tmp_path: Path) -> None:
    [(key, alone)] = planned(tmp_path).items()
    beside = planned(tmp_path, method=METHOD, network=NETWORK)
    assert key == ("resnet8", "baseline") and beside[key] == alone and alone["plugins"] is None
    assert list(beside["plain", "mine"]["plugins"]) == ["method mine", "network plain"]


@pytest.mark.slow
def test_a_package_counts_with_its_version(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(METHOD)
    information = tmp_path / "their_package-1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.2\n")
    (information / "entry_points.txt").write_text("[okdbench.methods]\ntheirs = theirs\n")
    assert planned(tmp_path)["resnet8", "mine"]["plugins"] == {"method mine": "their-package 1.2"}

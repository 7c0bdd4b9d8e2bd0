"""A kind that okdbench does not know, in one file (that of the page on adding a kind), through every verb."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from commandline import Command
from pages import ROOT, files

Call = Callable[..., str]


@pytest.fixture
def call(okdbench: Command, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls a verb with the page's file as a plugin, in the folder of the page's files, and gives what is printed."""
    for name, text in files((ROOT / "docs" / "add-a-kind.md").read_text()).items():
        Path(name).write_text(text)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def call(*words: str, status: int = 0) -> str:
        os.environ["OKDBENCH_PLUGINS"] = ""
        done = okdbench("--plugin", "sizes.py", *words)
        assert done.status == status, done.err
        return done.out + done.err

    return call


@pytest.mark.slow
def test_a_kind_of_ones_own_needs_one_file(call: Call) -> None:
    call("run", "some-sizes.yaml", "--jobs-per-device", "2")
    assert sizes(call)["resnet8"] < sizes(call)["resnet20"]


def sizes(call: Call) -> dict[str, int]:
    shown = json.loads(call("report", "some-sizes.yaml", "--format", "json"))
    return {row["network"]: row["parameters"] for row in shown["reports"][0]["sizes"]}


@pytest.mark.slow
def test_every_verb_knows_it(call: Call) -> None:
    assert "2 cells, 2 runs" in call("validate", "some-sizes.yaml")
    assert "resnet8, resnet20" in call("show", "some-sizes.yaml")
    assert "2 to count" in call("run", "some-sizes.yaml", "--results", "new", "--dry-run")
    call("run", "some-sizes.yaml")
    assert "2 finished" in call("status", "some-sizes.yaml")
    assert "nothing to do" in call("run", "some-sizes.yaml", "--dry-run")
    number = str(sizes(call)["resnet20"])
    for format in ("text", "markdown", "latex", "csv", "html"):
        assert number in call("report", "some-sizes.yaml", "--format", format).replace(",", "")
    assert "2 runs sound" in call("results", "verify", "results")
    assert "no curves" in call("track", "some-sizes.yaml", "--to", "tensorboard")
    assert "leave it out" in call("run", "some-sizes.yaml", "--set", "classes=10", status=2)
    for option in (("--style", "paper"), ("--explain", "resnet8")):
        assert option[0] in call("report", "some-sizes.yaml", *option, status=2)


def test_mistakes_are_answered_as_those_of_any_recipe(call: Call) -> None:
    Path("wrong.yaml").write_text("title: x\nkind: sizes\nnetwork: [resnet8]\n")
    assert 'wrong.yaml:3: network: unknown key; did you mean "networks"?' in call("validate", "wrong.yaml", status=2)
    Path("other.yaml").write_text("title: x\nkind: size\n")
    assert 'there is no "size"; did you mean "sizes"?' in call("validate", "other.yaml", status=2)


def test_a_kind_whose_plugin_is_forgotten_is_asked_for_alone(okdbench: Command) -> None:
    Path("some.yaml").write_text("title: x\nkind: sizes\nnetworks: [resnet8]\n")
    said = okdbench("validate", "some.yaml")
    assert said.status == 2 and 'some.yaml:2: kind: there is no "sizes"; did you forget --plugin' in said.err + said.out
    assert "networks" not in said.err + said.out

"""Starting files: they work as they are, and overwrite nothing."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from commandline import Command

from okdbench import networks
from okdbench.plan import expand
from okdbench.recipe import load
from okdbench.testing import check_method


def test_the_method_keeps_the_contract(okdbench: Command) -> None:
    status, out, _ = okdbench("new", "method", "my-idea")
    assert status == 0 and out.startswith("my_idea.py written; ")
    spec = importlib.util.spec_from_file_location("my_idea", "my_idea.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (module.MyIdea.name, module.MyIdea.title) == ("my-idea", "MY-IDEA")
    check_method(module.MyIdea, module.MyIdeaConfig(), networks.get("resnet8"))


def test_the_recipe_is_valid_and_names_the_methods(okdbench: Command) -> None:
    status, out, _ = okdbench("new", "recipe", "my-table", "-m", "baseline", "-m", "dkel")
    assert status == 0 and "okdbench run my-table.yaml --smoke" in out
    plan = expand(load("my-table.yaml"))
    assert [str(cell.facts["method"]) for cell in plan.cells] == ["baseline", "dkel"] and len(plan.runs) == 6
    assert okdbench("validate", "my-table.yaml").out == "ok  my-table.yaml: 2 cells, 6 runs\n"


def test_what_is_commented_out_in_the_recipe_is_valid_too(okdbench: Command) -> None:
    okdbench("new", "recipe", "my-table")
    lines = Path("my-table.yaml").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("# overrides:"))
    optional = [re.sub(r"^# (?=\w+:|  )", "", line) for line in lines[start:]]
    Path("all.yaml").write_text("\n".join([*lines[:start], *optional]))
    assert {"overrides", "source", "reported"} <= yaml.safe_load(Path("all.yaml").read_text()).keys()
    assert okdbench("validate", "all.yaml").status == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("method", "dkel"), "is the name of a method of okdbench"),
        (("method", "My Idea"), "begins with a letter: my-idea"),
        (("recipe", "../x"), "begins with a letter: x"),
        (("recipe", "mine.yaml"), "begins with a letter: mine\n"),
        (("recipe", "x", "-m", "dkell"), 'unknown method "dkell"'),
        (("recipe", "x", "-m", "dkel@none"), 'has no preset "none"'),
    ],
)
def test_names_that_cannot_be(words: tuple[str, ...], message: str, okdbench: Command) -> None:
    status, _, err = okdbench("new", *words)
    assert status == 2 and message in err


@pytest.mark.parametrize(("kind", "file"), [("method", "mine.py"), ("recipe", "mine.yaml")])
def test_nothing_is_overwritten(kind: str, file: str, okdbench: Command) -> None:
    Path(file).write_text("precious")
    status, _, err = okdbench("new", kind, "mine")
    assert status == 2 and "exists already" in err and Path(file).read_text() == "precious"

"""What the documentation says is so: commands, links, keys, numbers and examples are compared with the program."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

import fabricate
import pytest
from pages import PAGES, ROOT, anchors, blocks, commands, files, links, parsed, prose, sections, tables
from pydantic_core import PydanticUndefined

from okdbench import config, methods, networks, recipe
from okdbench.cli.options import Choices
from okdbench.methods import Build, configure
from okdbench.networks.base import count_parameters
from okdbench.networks.counting import count_cost, weightless
from okdbench.plan import Selection, expand
from okdbench.recipe import claims, header, layout, schema, simulation
from okdbench.report import build, render
from okdbench.results.cells import Verdict
from okdbench.runs.probe import ProbeSettings

SELECTING = ("run", "status", "report")


@cache
def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_parse_and_name_what_there_is(path: Path, tmp_path: Path) -> None:
    for words in commands(path.read_text()):
        verb, options = parsed(words)
        name = options.get("recipe")
        if name and not name.isupper() and not name.endswith(".yaml"):
            assert name in recipe.available(), f"{words}: there is no recipe {name}"
            if verb in SELECTING:
                chosen = Choices(**{field.name: options[field.name] for field in fields(Choices)})
                assert chosen.plan(name, tmp_path).runs, f"{words} selects no run"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in links(path.read_text()):
        file = path.parent / target if target else path
        assert file.exists(), f"{path.name} links to {target}, which is not there"
        assert not anchor or file.suffix != ".md" or anchor in anchors(file.read_text()), f"{target} has no #{anchor}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop().resolve()
        if path.suffix == ".md" and path not in reached:
            reached.add(path)
            waiting += [path.parent / target for target, _ in links(path.read_text()) if target]
    assert set(PAGES) <= reached


@pytest.mark.slow
def test_networks_are_measured() -> None:
    [rows] = tables(page("networks"))
    assert {row["identifier"] for row in rows} == set(networks.available())
    for row in rows:
        architecture = networks.get(row["identifier"])
        assert row["printed as"] == architecture.title
        columns = {10: "parameters at 10 classes", 100: "at 100", 200: "at 200", 1000: "at 1000"}
        stated = {classes: row[column] for classes, column in columns.items() if row[column]}
        assert stated
        for classes, parameters in stated.items():
            with weightless():
                network = networks.Single(architecture.build(classes))
            assert f"{count_parameters(network):,}" == parameters, row["identifier"]
        cost = count_cost(architecture, max(stated))
        assert f"{cost.single.macs / 1e6:.1f}" == row["MMAC"], row["identifier"]
        assert f"{cost.branch.macs / 1e6:.1f}" == row["of which per branch"], row["identifier"]


def built(name: str) -> methods.Method:
    networks_of_run = [networks.get("resnet8")]
    kind = methods.get(name)
    teacher = built("baseline") if kind.needs_teacher else None
    return kind(Build(networks_of_run, 10, seed=0, teacher=teacher), configure(name, {}))


def spelt_out(heads: str) -> tuple[str, ...]:
    """``peer0..peer2, ensemble`` as single names."""
    found: list[str] = []
    for part in heads.split(", "):
        first, _, last = part.partition("..")
        stem = first.rstrip("0123456789")
        numbers = range(int(first.removeprefix(stem)), int(last.removeprefix(stem)) + 1) if last else ()
        found += [f"{stem}{number}" for number in numbers] or [first]
    return tuple(found)


def test_the_overview_of_methods_is_complete() -> None:
    overview = tables(page("methods"))[0]
    assert {row["method"] for row in overview} == set(methods.available())
    for row in overview:
        method = built(row["method"])
        assert row["printed as"] == method.title
        assert page(f"methods/{method.name}").startswith(f"# {method.title}\n")
        assert spelt_out(row["heads with default settings"]) == method.heads()
        assert row["deployed head"] == method.deployed


@pytest.mark.parametrize("name", methods.available())
def test_presets_are_as_stated(name: str) -> None:
    section = sections(page(f"methods/{name}"))["Presets"]
    presets = {p: configure(f"{name}@{p}", {}).model_dump() for p in methods.get(name).Config.presets}
    assert all(f"`{preset}`" in section for preset in presets)
    settings = [s for s in presets["paper"] if len({repr(values[s]) for values in presets.values()}) > 1]
    rows = {row["setting"].split(" ")[0].strip(",:"): row for table in tables(section) for row in table}
    assert set(rows) == set(settings)
    for setting, row in rows.items():
        for preset, values in presets.items():
            assert row[preset].split(" ")[0] == shown(values[setting]), f"{setting} of {preset}"


def shown(value: Any) -> str:
    """A value as the pages write it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case tuple():
            return f"[{', '.join(map(shown, value))}]"
        case _:
            return str(value)


SECTIONS: dict[str, tuple[Any, ...]] = {
    "The file": (schema.Recipe,),
    "source": (header.Source,),
    "grid": (schema.Grid,),
    "training": (config.TrainingSettings,),
    "training.optimizer": (config.OptimizerSettings,),
    "training.ema": (config.AverageSettings,),
    "training.schedule": (config.MultistepSchedule, config.CosineSchedule),
    "data": (config.DataSettings,),
    "overrides": (schema.Override,),
    "left_out": (schema.LeftOut,),
    "teachers": (schema.TeacherRun,),
    "protocol": (schema.Protocol,),
    "readings": (schema.Reading,),
    "table": (layout.Table,),
    "figure": (layout.Figure,),
    "reported": (schema.ReportedNumbers,),
    "reported.cells": (schema.ReportedCell,),
    "claims": (claims.Claim,),
    "smoke": (schema.Smoke,),
    "probe": (ProbeSettings,),
    "A simulation": (simulation.SimulationRecipe,),
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_keys_and_defaults_of_recipes(heading: str) -> None:
    [rows] = tables(sections(page("write-a-recipe"))[heading])
    fields: dict[str, Any] = {}
    for model in reversed(SECTIONS[heading]):
        fields |= {field.alias or name: field for name, field in model.model_fields.items()}
    assert {row["key"] for row in rows} == set(fields)
    for row in rows:
        default = fields[row["key"]].default
        if isinstance(default, config.StrictModel) or (isinstance(default, dict) and default):
            assert row["default"] not in ("", "required", "none")
        else:
            assert row["default"] == stated(default), row["key"]


def stated(default: Any) -> str:
    """A default as the page writes it."""
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return "none"
    return "empty" if default in ("", {}, ()) and default is not False else shown(default)


def test_every_section_of_a_recipe_is_described() -> None:
    headings = set(sections(page("write-a-recipe")))
    for name, field in schema.Recipe.model_fields.items():
        simple = field.annotation in (str, float) or name in ("kind", "seeds")
        assert simple or name in headings, f"{name} has no section"


def test_the_example_recipe_is_valid_and_complete(tmp_path: Path) -> None:
    [(name, text)] = files(page("write-a-recipe")).items()
    (tmp_path / name).write_text(text)
    plan = expand(recipe.load(tmp_path / name))
    assert len(plan.runs) == 12
    assert not any(cell.unavailable for cell in plan.cells)
    assert sum(cell.reported is not None for cell in plan.cells) == 3
    assert expand(recipe.load(tmp_path / name), Selection(smoke=True)).runs


def test_the_examples_of_overrides_are_understood() -> None:
    texts = [block for block in blocks(page("write-a-recipe"), "yaml") if block.startswith("overrides:")]
    assert len(texts) == 2
    for override in (each for text in texts for each in recipe.parse_value(text)["overrides"]):
        schema.Override.model_validate(override)


REPORTED: dict[str, dict[str, Any]] = {
    "baseline": {"mean": 71.28, "std": 0.19, "n": 3},
    "dml": {"mean": 73.68, "std": 0.14, "n": 3},
    "one": {"mean": 73.79, "std": 0.41, "trust": "low", "note": "read off a plot"},
    "pcl": {"mean": 74.14},
    "dkel": {"mean": 74.83, "std": 0.12, "n": 3},
}
MEASURED = {
    "baseline": (71.0, 71.3, 71.5),
    "dml": (72.9, 73.2, 73.0),
    "one": (73.9, 74.9, 74.7),
    "pcl": (74.9, 75.1, 74.8),
    "dkel": (74.7, 75.0),
    "cl": (72.1, 72.8, 72.6),
}


def example_report(folder: Path) -> str:
    names = {name: methods.get(name).title for name in ("baseline", "dml", "cl", "one", "pcl", "dkel")}
    plan = fabricate.plan(
        folder,
        title="An example with invented numbers",
        source={"paper": "No paper", "year": 2025, "table": "Table 0"},
        grid={"dataset": ["cifar100"], "network": ["resnet32"], "method": list(names)},
        protocol={"default": {"head": "student", "epoch": "last"}, "pcl": {"head": "max(teacher?)", "epoch": "best"}},
        table={"rows": "method", "columns": "network", "names": {**names, "resnet32": "ResNet-32"}},
        reported={
            "cells": [{"dataset": "cifar100", "network": "resnet32", "method": m, **n} for m, n in REPORTED.items()]
        },
    )
    for cell in plan.cells:
        for run, value in zip(cell.runs, MEASURED[cell.method], strict=False):
            heads = {"teacher0": [value, 50.0], "teacher1": [50.0, 50.0]} if cell.method == "pcl" else None
            fabricate.run(folder, run.config, heads or {"student": [50.0, value]})
    return render([build(plan, folder)], "text", width=100)


def test_the_example_report_is_what_the_program_prints(tmp_path: Path) -> None:
    expected = example_report(tmp_path).strip()
    [stated] = [block.strip() for block in blocks(page("read-a-verdict"), "") if "invented numbers" in block]
    assert stated == expected, f"docs/read-a-verdict.md is stale; its example is now:\n{expected}"


def test_every_verdict_is_explained() -> None:
    [rows] = [table for table in tables(page("read-a-verdict")) if "verdict" in table[0]]
    explained = {name.removesuffix(" k/n") for row in rows for name in row["verdict"].split(", ")}
    assert explained == set(get_args(Verdict))


def test_the_protocols_of_the_papers_are_those_of_the_recipes() -> None:
    rows = tables(page("protocols"))[-1]
    kinds = ("best", "last")
    for name in recipe.available():
        loaded = recipe.load(name)
        if loaded.source and loaded.kind == "training":
            [row] = [row for row in rows if fnmatchcase(name, row["recipes"])]
            read = {
                (method, head, epoch)
                for epoch in kinds
                for head, methods in re.findall(r"(\S+) \(([^)]+)\)(?:;|$)", row[f"{epoch} epoch of"])
                for method in methods.split(", ")
            }
            cells = expand(loaded).cells
            found = {(c.method.partition("@")[0], c.protocol.head, c.protocol.epoch) for c in cells}
            assert found <= read, f"{name}: {found - read}"


def test_what_runs_leave_is_listed(tmp_path: Path) -> None:
    [rows] = [table for table in tables(page("reproducibility")) if "kept in git" in table[0]]
    ignored = (ROOT / ".gitignore").read_text().split()
    for row in rows:
        for file in row["file in the run's folder"].split(", "):
            assert (f"results/**/{file}" in ignored) == (row["kept in git"] == "no"), file


@pytest.mark.slow
class TestAddAMethod:
    """The page's files, as they stand there, in a folder of their own; its commands, as real processes."""

    @pytest.fixture
    def environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        given = files(page("add-a-method"))
        assert set(given) == {"agree.py", "test_agree.py", "agree.yaml", "compare.yaml", "plain.py", "test_plain.py"}
        for name, text in given.items():
            (tmp_path / name).write_text(text)
        for variable in ("OKDBENCH_RESULTS", "OKDBENCH_DATA"):
            monkeypatch.delenv(variable, raising=False)
        return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}

    def test_the_example_tests_pass(self, environment: dict[str, str], tmp_path: Path) -> None:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_agree.py", "test_plain.py"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        assert "5 passed" in done.stdout

    def test_the_commands_work(self, environment: dict[str, str], tmp_path: Path) -> None:
        printed = ""
        for words in commands(page("add-a-method")):
            command = [sys.executable, "-m", "okdbench", *words]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert (done.returncode, done.stderr) == (0, ""), shlex.join(words)
            printed += done.stdout
        assert "ok  agree.yaml: 3 cells, 6 runs" in printed
        assert re.search(r"^ok  compare.yaml: \d+ cells, 24 runs$", printed, re.MULTILINE)
        assert "agree@three     0      20" in printed
        assert "digits resnet8 agree seed 0: finished, peer0 " in printed
        assert "table: python -m okdbench --plugin agree.py report agree.yaml --smoke\n" in printed
        assert re.search(r"^AGREE +\d+\.\d\d \*$", printed, re.MULTILINE), "agree is in the report"
        assert re.search(r"^plain +Plain +32 +[\d,]+ +[\d,]+ +\d+\.\d$", printed, re.MULTILINE), (
            "plain is in the list of networks"
        )
        [record] = tmp_path.glob("results/agree/*/record.json")
        assert '"agree.py": "' in record.read_text()


def test_announcing_a_method_is_valid() -> None:
    [text] = blocks(page("add-a-method"), "toml")
    groups = tomllib.loads(dedent(text))["project"]["entry-points"]
    assert set(groups) == {"okdbench.methods", "okdbench.networks"}


def test_add_a_method_shows_where_things_are() -> None:
    for path in re.findall(r"`(okdbench/[\w/]+(?:\.py)?)/?`", prose(page("add-a-method"))):
        assert (ROOT / path).exists(), path

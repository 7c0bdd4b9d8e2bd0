"""list, show, copy, validate: what a person learns before training."""

import json
from importlib.util import find_spec
from pathlib import Path

import fabricate
import pytest
import yaml
from commandline import TINY, Command

from okdbench import data, methods, networks
from okdbench.plan import expand
from okdbench.recipe import available, load


def test_list_shows_everything_there_is(okdbench: Command) -> None:
    out = okdbench("list").out
    for name in (*available(), *methods.available(), *networks.available(), *data.available()):
        assert f"\n{name} " in out or f"\n  {name} " in out
    assert "\nsynthetic-NAME: " in out


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("recipes", available()),
        ("methods", methods.available()),
        ("networks", networks.available()),
        ("datasets", data.available()),
    ],
)
def test_list_one_kind_as_json(kind: str, names: dict[str, object], okdbench: Command) -> None:
    facts = json.loads(okdbench("list", kind, "--format", "json").out)
    assert next(iter(facts.items())) == ("schema", "okdbench.list/1")
    rows = facts[kind]
    assert [row["name"] for row in rows] == list(names)


def test_each_data_set_names_its_synthetic_stand_in(okdbench: Command) -> None:
    rows = json.loads(okdbench("list", "datasets", "--format", "json").out)["datasets"]
    assert [data.get(row["synthetic"]).stands_for for row in rows] == [
        data.available()[row["name"]].stands_for or row["name"] for row in rows
    ]


def test_list_tells_an_invalid_recipe_from_the_others(
    okdbench: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_text("title: 3\n")
    for module in ("okdbench.recipe", "okdbench.recipe.loader"):
        monkeypatch.setattr(f"{module}.available", lambda: {"bad": tmp_path / "bad.yaml"})
    monkeypatch.setattr("okdbench.recipe.load", lambda name: load(tmp_path / "bad.yaml"))
    [row] = json.loads(okdbench("list", "recipes", "--format", "json").out)["recipes"]
    assert row["title"].startswith("invalid: ")


def test_notes_are_shown_by_paragraph_however_the_file_breaks_them(okdbench: Command, tmp_path: Path) -> None:
    fabricate.plan(tmp_path, notes="Two columns are\ncopied from PCL\n(2021).\nNothing is known of n.\n")
    out = okdbench("show", str(tmp_path / "small.yaml")).out
    assert "notes           Two columns are copied from PCL (2021).\n                Nothing is known of n.\n" in out


def test_numbers_are_listed_as_numbers(okdbench: Command) -> None:
    [line] = [line for line in okdbench("list", "networks").out.splitlines() if line.startswith("wrn28_10 ")]
    assert line.split()[1:] == ["WRN-28-10", "32", "100", "36,536,884", "5,243.4"]


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("timm"), reason="needs timm")
def test_a_network_that_cannot_be_split_is_refused_and_the_rest_is_shown(okdbench: Command, tmp_path: Path) -> None:
    recipe = yaml.safe_load(TINY.read_text())
    recipe["grid"]["network"] = ["resnet8", "timm/vit_tiny_patch16_224"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    reason = 'network "timm/vit_tiny_patch16_224" cannot be split into stages; take one whose modules follow'
    shown = okdbench("show", "mine.yaml")
    cost = json.loads(okdbench("show", "mine.yaml", "--cost", "--format=json").out)
    assert shown.status == 0 and f"cannot run      {reason}" in shown.out and "(4 cells)" in shown.out
    assert [row["network"] for row in cost["cost"]] == ["resnet8"] * 4
    assert all(row["macs"] > 0 for row in cost["cost"])
    status, out, err = okdbench("run", "mine.yaml")
    assert (status, out) == (2, "") and reason in err and "select the others: okdbench run mine.yaml -n resnet8" in err


def test_show_says_what_cannot_run_yet(okdbench: Command, tmp_path: Path) -> None:
    recipe = yaml.safe_load(TINY.read_text())
    recipe["grid"]["network"] = ["resnet8", "resnet9999"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    out = okdbench("show", "mine.yaml").out
    assert 'cannot run      unknown network "resnet9999" (did you mean' in out and "(4 cells)" in out
    assert "8 cells, 8 runs" in out


def test_show_as_json_has_the_reported_numbers(okdbench: Command) -> None:
    facts = json.loads(okdbench("show", "dkel-table1", "--format", "json").out)
    assert facts["name"] == "dkel-table1" and len(facts["cells"]) == 100
    assert facts["cells"][0]["reported"]["mean"] == 93.26


def test_show_resolved_gives_every_setting_of_every_run(okdbench: Command) -> None:
    plan = expand(load("quickstart"))
    out = okdbench("show", "quickstart", "--resolved").out
    found = list(yaml.safe_load_all(out.partition("\n# ")[2].replace("\n# ", "\n---\n# ").partition("\n")[2]))
    assert [run["id"] for run in found] == [run.id for run in plan.runs]
    kind = methods.get(plan.runs[-1].config.method)
    assert set(found[-1]["settings"]) == set(kind.Config.model_fields)
    as_json = json.loads(okdbench("show", "quickstart", "--resolved", "--format", "json").out)["resolved"]
    assert as_json == found


def test_show_cost_has_a_row_for_each_cell(okdbench: Command) -> None:
    costs = json.loads(okdbench("show", "quickstart", "--cost", "--format", "json").out)["cost"]
    plan = expand(load("quickstart"))
    assert [cost["method"] for cost in costs] == [cell.method for cell in plan.cells]
    assert costs[0]["step"] == pytest.approx(1.0)
    shown = okdbench("show", "quickstart", "--cost").out
    assert "PFLOP" in shown and "not counted" not in shown


def test_show_cost_says_which_runs_it_does_not_count(okdbench: Command) -> None:
    part = ("-d", "stl10", "-n", "resnet8", "-m", "baseline")
    assert "not counted: 5 runs that these need first" in okdbench("show", "fair-transfer", "--cost", *part).out


@pytest.mark.usefixtures("tiny")
def test_show_takes_a_part_of_the_recipe_as_run_does(okdbench: Command) -> None:
    part = ("-m", "dkel", "-s", "1", "--epochs", "2")
    [cost] = json.loads(okdbench("show", "tiny.yaml", "--cost", *part, "--format", "json").out)["cost"]
    [whole] = json.loads(okdbench("show", "tiny.yaml", "--cost", "-m", "dkel", "--format", "json").out)["cost"]
    assert (cost["runs"], whole["runs"]) == (1, 2)
    assert cost["petaflop"] == pytest.approx(whole["petaflop"] / 4)


def test_copy_makes_a_recipe_of_ones_own(okdbench: Command, tmp_path: Path) -> None:
    original = available()["quickstart"].read_bytes()
    assert okdbench("copy", "quickstart", "mine.yaml").status == 0
    assert okdbench("copy", "mine.yaml", "recipes-of-mine/").status == 0
    assert (tmp_path / "mine.yaml").read_bytes() == original
    assert (tmp_path / "recipes-of-mine" / "mine.yaml").read_bytes() == original
    assert okdbench("validate", "recipes-of-mine/mine.yaml").status == 0


def test_copy_never_overwrites(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("precious")
    status, _, err = okdbench("copy", "quickstart", "mine.yaml")
    assert status == 2 and err.startswith("okdbench: error: mine.yaml: exists already")
    assert (tmp_path / "mine.yaml").read_text() == "precious"


def test_copy_wants_a_yaml_file(okdbench: Command) -> None:
    assert okdbench("copy", "quickstart", "mine").status == 2


def test_validate_all_recipes(okdbench: Command) -> None:
    status, out, err = okdbench("validate")
    assert status == 0 and not err
    told = [line.partition(":")[0] for line in out.splitlines() if not line.startswith("    cannot run: ")]
    assert told == [f"ok  {name}" for name in available()]


def test_validate_shows_three_mistakes_at_once_and_goes_on(okdbench: Command, tmp_path: Path) -> None:
    text = TINY.read_text()
    for right, wrong in (("batch_size: 32", "batchsize: 32"), ("lr: 0.1", "lr: fast"), ("seeds: [0, 1]", "seeds: []")):
        assert right in text
        text = text.replace(right, wrong, 1)
    (tmp_path / "mine.yaml").write_text(text)
    status, out, err = okdbench("validate", "mine.yaml")
    assert status == 2 and not out
    lines = err.splitlines()
    assert len(lines) == 4 and lines[-1] == "1 of 1 recipe invalid"
    for line, key in zip(lines[:3], ("seeds", "training.batchsize", "training.optimizer.lr"), strict=True):
        assert line.startswith("mine.yaml:") and f" {key}: " in line


def test_an_unknown_recipe_is_answered_with_a_suggestion(okdbench: Command) -> None:
    for verb in ("show", "validate", "run", "status", "report"):
        status, out, err = okdbench(verb, "quickstrat")
        assert (status, out) == (2, "")
        assert err.splitlines() == [
            'okdbench: error: unknown recipe "quickstrat": did you mean "quickstart"?',
            "okdbench: try: okdbench list recipes",
        ]

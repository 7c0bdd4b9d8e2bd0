"""Recipes of a simulation: variants, mistakes in them, and what a selection makes of them."""

from pathlib import Path

import pytest

from okdbench.config import CLAIMS, SimulationConfig, SimulationSettings
from okdbench.errors import UsageError
from okdbench.plan import Selection, SimulationPlan, expand
from okdbench.recipe import SimulationRecipe, available, load

RECIPE = """
title: A simulation
kind: simulation
variants:
  plain: {}
  slow: {b: 0.99, trials: 50}
claims: {dk-better: DK is better}
"""


def plan(folder: Path, text: str = RECIPE, **selection: object) -> SimulationPlan:
    (folder / "mine.yaml").write_text(text)
    recipe = load(folder / "mine.yaml")
    assert isinstance(recipe, SimulationRecipe)
    return expand(recipe, Selection(**selection))  # type: ignore[arg-type]


def test_every_reading_is_a_cell_with_one_run(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert found.recipe.name == "mine"
    assert [cell.name for cell in found.cells] == ["plain", "slow"]
    assert [run.config.settings for run in found.runs] == [SimulationSettings(), SimulationSettings(b=0.99, trials=50)]
    assert [run.config.folder for run in found.runs] == [f"{cell.name}.{cell.runs[0].id}" for cell in found.cells]
    assert not any(cell.changed for cell in found.cells)


def test_the_shipped_recipe_names_every_claim() -> None:
    recipe = load("dkel-figure5")
    assert isinstance(recipe, SimulationRecipe)
    assert tuple(recipe.claims) == CLAIMS
    assert recipe.variants["recommended"] == SimulationSettings()


def test_identity_is_name_and_settings_whatever_their_spelling(tmp_path: Path) -> None:
    first, second = (run.config for run in plan(tmp_path).runs)
    spelt = plan(tmp_path, RECIPE.replace("plain: {}", "plain: {b: 0.9, direction: raw}")).runs[0].config
    assert spelt.id == first.id != second.id
    assert SimulationConfig(name="other", settings=SimulationSettings()).id != first.id
    assert SimulationConfig.model_validate_json(second.model_dump_json()) == second


def test_settings_change_every_reading_and_smoke_only_the_first(tmp_path: Path) -> None:
    changed = plan(tmp_path, settings={"trials": 50, "b": 0.8})
    assert [cell.changed for cell in changed.cells] == [("b=0.8", "trials=50"), ("b=0.8",)]
    smoke = plan(tmp_path, smoke=True)
    assert [(cell.name, cell.changed) for cell in smoke.cells] == [("plain", ("trials=100",))]
    chosen = plan(tmp_path, RECIPE + "smoke: {variants: [slow], set: {epochs: 5}}", smoke=True, settings={"epochs": 7})
    assert [cell.changed for cell in chosen.cells] == [("epochs=7",)]


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        ("plain: {}", "plain: {trails: 3}", 'variants.plain.trails: unknown key; did you mean "trials"?'),
        ("plain: {}", "plain: {b: 1}", "variants.plain.b: must be below 1, not 1"),
        ("plain: {}", "plain: {gap: up}", 'variants.plain.gap: there is no "up"; choose from: student, teacher'),
        ("plain: {}", "a/b: {}", "variants.a/b: the name of a variant becomes a folder's; write it in letters"),
        ("dk-better", "dk-beter", 'the simulation cannot judge "dk-beter"; did you mean "dk-better"?'),
        ("claims:", "smoke: {set: {trials: 1}}\nclaims:", "smoke.set.trials: must be at least 2, not 1"),
        ("claims:", "smoke: {variants: [plan]}\nclaims:", 'there is no variant "plan"; did you mean "plain"?'),
        ("claims:", "figure: {variants: []}\nclaims:", "figure.variants: is empty; name at least one"),
        ("claims:", "grid: {}\nclaims:", "grid: unknown key"),
        ("kind: simulation", "kind: simulatoin", 'kind: there is no "simulatoin"; did you mean "simulation"?'),
    ],
)
def test_mistakes_are_told_with_their_place(line: str, wrong: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        plan(tmp_path, RECIPE.replace(line, wrong))
    assert message in str(error.value) and "mine.yaml:" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_selection_of_what_a_simulation_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        plan(tmp_path, methods=("dkel",), seeds=(3,), settings={"trails": 3})
    assert str(error.value).splitlines() == [
        '--set trails=3: unknown key; did you mean "trials"?',
        "--method dkel: mine is a simulation, which has variants and no method; leave the option out",
        "--seed 3: mine is a simulation; write --set seed=3",
    ]


def test_variants_may_stand_under_their_first_name_and_keep_their_ids(tmp_path: Path) -> None:
    """Recipes and records written when variants were called readings stay readable."""
    now = available()["dkel-figure5"].read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(now.replace("variants:", "readings:"))
    assert [run.id for run in expand(load(path)).runs] == [run.id for run in expand(load("dkel-figure5")).runs]
    first = expand(load("dkel-figure5")).runs[1].config
    content = {key.replace("settings", "reading"): value for key, value in first.model_dump(mode="json").items()}
    assert SimulationConfig.model_validate(content) == first

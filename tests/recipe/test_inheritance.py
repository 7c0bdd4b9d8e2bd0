"""A recipe that extends another on another grid: runs keep their ids, and nothing is said of what is gone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_recipe import Write

from okdbench.errors import UsageError
from okdbench.plan import expand
from okdbench.recipe import available, load
from okdbench.recipe.axes import DEFAULT_READING, cell_keys
from okdbench.recipe.schema import Recipe

TABLES = [name for name, path in available().items() if "\ngrid:" in path.read_text()]
Part = Callable[[list[Any]], list[Any]]


def extending(base: str, folder: Path, **content: Any) -> Recipe:
    """The recipe of a file that extends ``base``."""
    path = folder / "part.yaml"
    path.write_text(yaml.safe_dump({"title": "A part", "extends": base, **content}))
    recipe = load(path)
    assert isinstance(recipe, Recipe)
    return recipe


@pytest.mark.parametrize("part", [lambda values: values[-1:], lambda values: values[::2]], ids=["last", "others"])
@pytest.mark.parametrize("name", TABLES)
def test_a_part_of_a_shipped_grid_has_its_runs_and_its_printed_numbers(name: str, part: Part, tmp_path: Path) -> None:
    whole = load(name)
    assert isinstance(whole, Recipe)
    axes = {axis: part(list(values)) for axis, values in whole.grid.axes.items()}
    names = {"method", *(label.method for label in axes["method"])}
    left = {axis: values for axis, values in axes.items() if "." not in axis or axis.partition(".")[0] in names}
    grid = {axis: [str(value) if isinstance(value, str) else value for value in left[axis]] for axis in left}
    layout = {} if left == axes else {"table": {"rows": "network", "columns": "method", "panels": "dataset"}}
    narrow = extending(name, tmp_path, grid=grid, **layout)

    assert {run.id for run in expand(narrow).runs} <= {run.id for run in expand(whole).runs}
    printed = whole.reported.by_key if whole.reported else {}
    kept = narrow.reported.by_key if narrow.reported else {}
    on_grid = set(cell_keys(narrow.grid.axes))
    assert kept == {key: cell for key, cell in printed.items() if key._replace(reading=DEFAULT_READING) in on_grid}
    assert {claim.id for claim in narrow.claims} <= {claim.id for claim in whole.claims}


FULL = """
overrides:
  - {when: {network: resnet20, method: [dml, dkel]}, set: {training.epochs: 5}}
  - {when: {network: [resnet20]}, set: {training.batch_size: 32}}
  - {set: {dml.peers: 3, dkel.peers: 2}}
  - {set: {dml.temperature: 2.0}}
variants: {dkel@mine: {alpha: 0.1}, "@ours": {peers: 4}}
protocol: {default: {epoch: best}, dml: {epoch: last}, dkel@mine: {epoch: last-2}}
left_out: [{when: {dataset: cifar10, method: dkel@mine}, why: too long}]
readings:
  late: {method: [dml], epoch: last-2}
  ema: {method: [dml, dkel], averaged: true}
smoke: {grid: {method: [dml], network: [resnet20, resnet8]}, set: {training.epochs: 1, dml.peers: 2}}
reported:
  cells:
    - {dataset: cifar10, network: resnet8, method: dkel, mean: 90}
    - {dataset: cifar10, network: resnet20, method: dkel, mean: 92}
    - {dataset: cifar10, network: resnet8, method: dml, mean: 89}
claims:
  - {id: over-networks, text: t, source: s, printed: "91", formula: "mean(cell(cifar10, n, dkel) for n in network)"}
  - {id: of-one, text: t, source: s, printed: "90", formula: "cell(cifar10, resnet8, dkel)"}
  - {id: of-dml, text: t, source: s, printed: "89", formula: "cell(cifar10, resnet8, dml)"}
"""
GRID = """
grid:
  dataset: [cifar10, cifar100]
  network: [resnet8, resnet20]
  method: [baseline, dml, dkel, dkel@mine, dkel@ours]
"""


def test_what_is_said_of_values_that_are_gone_is_left_out_and_the_rest_is_kept(write: Write, tmp_path: Path) -> None:
    write(
        FULL, name="base", grid=GRID, table="table: {rows: network, columns: method, panels: dataset, reference: dml}"
    )
    recipe = extending("base.yaml", tmp_path, grid={"network": ["resnet8"], "method": ["baseline", "dkel", "one"]})
    assert recipe.grid.dataset == ("cifar10", "cifar100")
    assert [override.set for override in recipe.overrides] == [{"dkel.peers": 2}]
    assert (recipe.variants, recipe.left_out, set(recipe.protocol)) == ({}, (), {"default"})
    assert {name: each.method for name, each in recipe.readings.items()} == {"ema": ("dkel",)}
    assert recipe.smoke.grid.axes == {"network": ("resnet8",)}
    assert recipe.smoke.set == {"training.epochs": 1}
    assert recipe.reported and [cell.mean for cell in recipe.reported.cells] == [90]
    assert [claim.id for claim in recipe.claims] == ["of-one"]
    assert recipe.table.reference is None


def test_an_override_remains_for_the_cells_that_remain(write: Write, tmp_path: Path) -> None:
    write(FULL, name="base", grid=GRID)
    recipe = extending("base.yaml", tmp_path, grid={"network": ["resnet20"], "method": ["dkel", "dkel@ours"]})
    assert [(override.when.network, override.when.method) for override in recipe.overrides] == [
        (("resnet20",), ("dkel",)),
        (("resnet20",), None),
        (None, None),
    ]
    assert set(recipe.variants) == {"@ours"}


def test_what_is_gone_anyway_can_be_taken_away_too(write: Write, tmp_path: Path) -> None:
    write(FULL, name="base", grid=GRID)
    own = {"grid": {"method": ["dkel"]}, "protocol": {"dml": None}, "claims": None, "left_out": None}
    recipe = extending("base.yaml", tmp_path, **own)
    assert (recipe.claims, recipe.left_out, set(recipe.protocol)) == ((), (), {"default"})


def test_a_setting_can_become_an_axis(write: Write, tmp_path: Path) -> None:
    write(FULL, name="base", grid=GRID)
    own = {
        "grid": {"dkel.peers": [2, 3], "dataset": ["cifar10"], "method": ["dml", "dkel"]},
        "table": {"panels": "dkel.peers"},
    }
    recipe = extending("base.yaml", tmp_path, **own)
    assert [override.set for override in recipe.overrides][2:] == [{"dml.peers": 3}, {"dml.temperature": 2.0}]
    assert recipe.reported and [cell.mean for cell in recipe.reported.cells] == [89]


def test_a_grid_that_cannot_be_read_is_the_only_mistake(write: Write, tmp_path: Path) -> None:
    write(FULL, name="base", grid=GRID)
    with pytest.raises(UsageError) as error:
        extending("base.yaml", tmp_path, grid={"network": []})
    assert str(error.value).endswith("grid.network: is empty; name at least one")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("own", "means", "claims"),
    [
        ({}, [90, 92, 89], ["over-networks", "of-one", "of-dml"]),
        ({"seeds": [5]}, [90, 92, 89], ["over-networks", "of-one", "of-dml"]),
        ({"training": {"epochs": 9}}, [92], []),
        ({"overrides": None}, [], []),
        ({"overrides": [{"set": {"dkel.peers": 2}}]}, [90], ["of-one"]),
        ({"protocol": {"dml": {"epoch": "best"}}}, [90, 92], ["over-networks", "of-one"]),
        ({"kind": "probe"}, [], []),
        ({"reported": None}, [], []),
        ({"training": {"epochs": 9}, "claims": []}, [92], []),
        ({"training": {"epochs": 9}, "reported": {"provenance": "a table"}}, [92], []),
    ],
    ids=str,
)
def test_printed_numbers_and_claims_remain_for_what_is_trained_and_read_alike(
    write: Write, tmp_path: Path, own: dict[str, Any], means: list[float], claims: list[str]
) -> None:
    write(FULL.replace("training.batch_size: 32", "training.epochs: 7"), name="base", grid=GRID)
    recipe = extending("base.yaml", tmp_path, **own)
    assert [cell.mean for cell in recipe.reported.cells] == means if recipe.reported else means == []
    assert [claim.id for claim in recipe.claims] == claims


TAUGHT = """
teachers: {kd: {network: resnet20, method: baseline}}
overrides:
  - {when: {network: resnet20}, set: {training.epochs: 9}}
  - {when: {method: baseline}, set: {training.batch_size: 32}}
  - {set: {baseline.views: 3}}
"""


@pytest.mark.parametrize(
    "grid", [{"network": ["resnet8"]}, {"method": ["kd"]}, {"network": ["resnet8"], "method": "kd"}]
)
def test_a_teacher_stays_as_it_was_when_its_cell_is_gone(write: Write, tmp_path: Path, grid: dict[str, Any]) -> None:
    taught = "grid: {dataset: [cifar10], network: [resnet8, resnet20], method: [baseline, kd]}"
    whole = load(write(TAUGHT, name="base", grid=taught, table="table: {rows: network, columns: method}"))
    narrow = extending("base.yaml", tmp_path, grid=grid)
    mine = {run.id for run in expand(narrow).runs}
    assert mine and mine < {run.id for run in expand(whole).runs}


def test_a_reading_taken_away_takes_its_numbers_along(write: Write, tmp_path: Path) -> None:
    late = "reading: late, mean: 88}"
    write(FULL.replace("mean: 89}", late), name="base", grid=GRID)
    recipe = extending("base.yaml", tmp_path, readings={"late": None}, claims=None)
    assert recipe.reported and [cell.mean for cell in recipe.reported.cells] == [90, 92]


def test_another_schedule_takes_the_place_of_the_whole(write: Write, tmp_path: Path) -> None:
    write(name="base")
    schedule = extending("base.yaml", tmp_path, training={"schedule": {"name": "cosine"}}).training.schedule
    assert schedule.name == "cosine"


def test_claims_do_not_depend_on_the_order_of_the_grid(write: Write, tmp_path: Path) -> None:
    write(FULL, name="base", grid=GRID)
    recipe = extending("base.yaml", tmp_path, grid={"network": ["resnet20", "resnet8"]})
    assert [claim.id for claim in recipe.claims] == ["over-networks", "of-one", "of-dml"]


def test_the_name_of_a_value_goes_with_its_axis(write: Write, tmp_path: Path) -> None:
    table = "table: {rows: dml.peers, columns: method, names: {3: three peers, dml: DML}}"
    grid = "grid: {dataset: [cifar10], network: [resnet8], method: [baseline, dml], dml.peers: [2, 3]}"
    write(name="base", grid=grid, table=table)
    own = {"grid": {"dml.peers": None, "dml.temperature": [3, 4]}, "table": {"rows": "dml.temperature"}}
    assert extending("base.yaml", tmp_path, **own).table.names == {"dml": "DML"}


@pytest.mark.parametrize(
    ("base", "own", "said"),
    [
        ("", {"grid": {"dml": {"peers": [2]}}}, ["3: grid.dml: unknown key"]),
        ("", {"grid": {"dml.peers": {"a": 1}}}, ["3: grid.dml.peers: must be a list"]),
        ("", {"grid": {"training.epochs": [7]}}, ["3: grid.training.epochs: is no axis"]),
        (
            "",
            {"grid": {"dml.peers": [2], "method": ["dml"], "method.peers": [3]}},
            ["3: grid.dml.peers: is beside method.peers"],
        ),
        ("", {"seeds": "x", "notes": 3}, ["3: seeds", "2: notes"]),
        ("figure: {lines: [method], reference: dml}", {}, ["1: extends base.yaml: figure.lines: must be text"]),
        ("margin: -1", {"seeds": []}, ["2: seeds: is empty", "1: extends base.yaml: margin: must be at least 0"]),
    ],
    ids=str,
)
def test_mistakes_say_where_they_are(
    write: Write, tmp_path: Path, base: str, own: dict[str, Any], said: list[str]
) -> None:
    write(base, name="base")
    with pytest.raises(UsageError) as error:
        extending("base.yaml", tmp_path, **own)
    lines = [line.removeprefix(f"{tmp_path / 'part.yaml'}:") for line in str(error.value).splitlines()]
    assert len(lines) == len(said)
    assert all(any(line.startswith(begin) for line in lines) for begin in said), lines


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x.yaml", "x" * 300, "nul\0.yaml", "part.yml"])
def test_what_is_extended_is_a_file_beside_or_a_shipped_recipe(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as error:
        extending(name, tmp_path)
    [line] = str(error.value).splitlines()
    assert line.startswith(f"{tmp_path / 'part.yaml'}:1: extends: ")


def test_keys_twice_in_the_extended_file_are_found(write: Write, tmp_path: Path) -> None:
    write("margin: 1\nmargin: 2", name="base")
    with pytest.raises(UsageError, match=r'base\.yaml:\d+: key "margin" appears twice'):
        extending("base.yaml", tmp_path)

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_recipe import Write

from okdbench.errors import UsageError
from okdbench.plan import expand
from okdbench.recipe import available, find, load
from okdbench.recipe.schema import SmokeGrid


def mistakes(path: Path) -> list[str]:
    """The error lines of a recipe without the file's name and the line numbers."""
    with pytest.raises(UsageError) as error:
        load(path)
    lines = str(error.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:").partition(": ")[2] for line in lines]


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_a_valid_recipe_is_named_after_its_file(write) -> None:
    recipe = load(write(name="my-table"))
    assert recipe.name == "my-table"
    assert recipe.grid.network == ("resnet8", "resnet20")
    assert recipe.margin == 0.3


def test_recipes_are_found_by_name_and_by_path(write) -> None:
    assert {"quickstart", "dkel-table1"} <= set(available())
    assert find("quickstart") == available()["quickstart"]
    path = write()
    assert find(path) == path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("quikstart", 'unknown recipe "quikstart": did you mean "quickstart"?'),
        ("nowhere/mine.yaml", "nowhere/mine.yaml: there is no such file; give a recipe's .yaml file or its name"),
    ],
)
def test_unknown_recipes(name: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        find(name)
    assert str(error.value) == message


def test_three_different_mistakes_give_three_lines_in_the_order_of_the_file(write) -> None:
    path = write(
        training="training:\n  epoch: 4\n  epochs: 4\n  optimizer: {lr: fast}\n  schedule: {name: cosine}",
        extra="reported:\n  cells:\n    - {dataset: cifar10, network: resnet23, method: dml, mean: 94}",
    )
    with pytest.raises(UsageError) as error:
        load(path)
    start = line_of(path, "epoch: 4")
    assert str(error.value).splitlines() == [
        f'{path}:{start}: training.epoch: unknown key; did you mean "epochs"?',
        f'{path}:{start + 2}: training.optimizer.lr: must be a number, not "fast"',
        f"{path}:{line_of(path, 'resnet23')}: reported.cells[0].network: "
        'grid.network has no "resnet23"; did you mean "resnet20"?',
    ]


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"title": "titel: A table"}, ["title: is missing; add it", 'titel: unknown key; did you mean "title"?']),
        ({"title": "title:"}, ["title: has no value; give one, or remove the key"]),
        ({"kind": "kind: simulate"}, ['kind: there is no "simulate"; did you mean "simulation"?']),
        ({"seeds": "seeds: []"}, ["seeds: is empty; name at least one"]),
        ({"seeds": "seeds: [0, 0]"}, ["seeds: 0 is listed twice; keep one"]),
        ({"seeds": "seeds: [-1, x]"},
         ["seeds[0]: must be at least 0, not -1", 'seeds[1]: must be a whole number, not "x"']),
        ({"source": "source: {paper: A, year: 2020, table: T, arxiv: 2312.11218}"},
         ["source.arxiv: must be text, not 2312.11218; put text in quotes"]),
        ({"extra": "margin: .inf"}, ["margin: must be finite, not Infinity"]),
        ({"extra": "notes: [1]"}, ["notes: must be text, not [1]; put text in quotes"]),
        ({"extra": "data: {normalisation: dkell}"},
         ['data.normalisation: there is no preset "dkell"; did you mean "dkel"?']),
        ({"extra": "data: {policies: [cutout, randagment]}"},
         ['data.policies[1]: there is no "randagment"; did you mean "randaugment"?']),
        ({"extra": "data: {subset: 0}"}, ["data.subset: must be above 0, not 0"]),
        ({"extra": "data: [dkel]"}, ['data: must be a mapping (key: value), not ["dkel"]']),
        ({"grid": "grid: {dataset: cifar10, netwrok: resnet8, method: baseline}"},
         ["grid.network: is missing; add it", 'grid.netwrok: unknown key; did you mean "network"?']),
        ({"table": "table: {rows: network, columns: methods, panels: dataset}"},
         ['table.columns: the grid has no axis "methods"; did you mean "method"?']),
        ({"table": "table: {rows: network, columns: method}"},
         ["table: grid.dataset has several values and no place; make it rows, columns or panels"]),
        ({"table": "table: {rows: network, columns: network, panels: dataset}"},
         ["table: rows, columns and panels must be different axes"]),
        ({"extra": "protocol: {1: {epoch: last}}"}, ["protocol[1]: must be text, not 1; put text in quotes"]),
        ({"source": None, "extra": "reported: {cells: [{dataset: cifar10, network: resnet8, method: dml, mean: 1}]}"},
         ["reported: numbers need a source; add source: {paper, year, table}"]),
    ],
)  # fmt: skip
def test_each_mistake_is_one_plain_line(write, sections: dict[str, str], expected: list[str]) -> None:
    assert mistakes(write(**sections)) == expected


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("{name: cosin}", 'training.schedule.name: there is no "cosin"; did you mean "cosine"?'),
        ("{milestones: [1]}", "training.schedule.name: is missing; choose from: multistep, cosine"),
        ("{name: multistep, milestone: [1]}", 'training.schedule.milestone: unknown key; did you mean "milestones"?'),
        ("{name: multistep, milestones: [1, x]}", 'training.schedule.milestones[1]: must be a whole number, not "x"'),
        ("{name: multistep, milestones: [3, 2]}", "training.schedule: milestones must rise"),
        ("cosine", 'training.schedule: must be a mapping (key: value), not "cosine"'),
    ],
)
def test_a_choice_of_models_leaves_no_trace_in_the_message(write, schedule: str, expected: str) -> None:
    training = f"training: {{epochs: 4, optimizer: {{lr: 0.1}}, schedule: {schedule}}}"
    assert expected in mistakes(write(training=training))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("set: {training.epoch: 3}",
         'overrides[0].set.training.epoch: unknown setting; did you mean "training.epochs"?'),
        ("set: {epochs: 3}", 'overrides[0].set.epochs: unknown setting; did you mean "training.epochs"?'),
        ("set: {qqq: 3}",
         "overrides[0].set.qqq: unknown setting; a key begins with one of: training., data., baseline., dml."),
        ("set: {training.epochs: many}", 'overrides[0].set.training.epochs: must be a whole number, not "many"'),
        ("set: {data.normalisation: dkell}",
         'overrides[0].set.data.normalisation: there is no preset "dkell"; did you mean "dkel"?'),
        ("set: {training.schedule: {name: cosin}}",
         'overrides[0].set.training.schedule.name: there is no "cosin"; did you mean "cosine"?'),
        ("set: {training.schedule.name: cosine}",
         "overrides[0].set.training.schedule.name: clashes with training.schedule.milestones "
         "(unknown key; choose from: name); set training.schedule as a whole"),
        ("set: {training.optimizer.momentum: 0}",
         "overrides[0].set.training.optimizer.momentum: nesterov needs a momentum above 0; set nesterov: false"),
        ("set: {dml.peer: 3}", 'overrides[0].set.dml.peer: unknown setting; did you mean "dml.peers"?'),
        ("set: {dml.peers: 1}", "overrides[0].set.dml.peers: must be at least 2, not 1"),
        ("set: {dml.target: pair}", 'overrides[0].set.dml.target: there is no "pair"; did you mean "pairwise"?'),
        ("set: {dml.preset: relased}",
         'overrides[0].set.dml.preset: dml has no preset "relased"; did you mean "released"?'),
        ("set: {pcl.peers: 3}",
         'overrides[0].set.pcl.peers: unknown setting; did you mean "dml.peers"?'),
        ("set: {}", "overrides[0].set: is empty; name at least one"),
        ("{when: {method: [dmll]}, set: {dml.peers: 3}}",
         'overrides[0].when.method[0]: grid.method has no "dmll"; did you mean "dml"?'),
        ("{when: {method: baseline}, set: {dml.peers: 3}}",
         "overrides[0].set.dml.peers: never applies, because when.method is baseline; add dml there"),
    ],
)  # fmt: skip
def test_a_bad_override_is_told_where_it_is_written(write, override: str, expected: str) -> None:
    assert mistakes(write(f"overrides:\n  - {override}")) == [expected]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ("method.peers", "baseline has no such setting; in place of method., write dml.peers and kdcl.peers"),
        ("method.peer", 'is a setting of no method of the grid; did you mean "method.peers"?'),
    ],
)
def test_an_axis_for_all_methods_is_a_setting_of_each(write, axis: str, expected: str) -> None:
    methods = "[baseline, dml, kdcl, dml@released, future]"
    grid = f"grid: {{dataset: cifar10, network: resnet8, method: {methods}, {axis}: [2]}}"
    table = f"table: {{rows: {axis}, columns: method}}"
    assert mistakes(write(grid=grid, table=table)) == [f"grid.{axis}: {expected}"]


def test_mistakes_in_different_overrides_and_the_smoke_settings_do_not_hide_each_other(write) -> None:
    path = write(
        """
overrides:
  - {when: {method: dmll}, set: {dml.peeers: 3}}
  - set: {training.epochs: 0, dml.peers: 1}
smoke:
  set: {training.epochs: none}
""",
        training="training: {epochs: x, optimizer: {lr: 0.1}, schedule: {name: cosine}}",
    )
    assert mistakes(path) == [
        'training.epochs: must be a whole number, not "x"',
        'overrides[0].when.method[0]: grid.method has no "dmll"; did you mean "dml"?',
        'overrides[0].set.dml.peeers: unknown setting; did you mean "dml.peers"?',
        "overrides[1].set.training.epochs: must be above 0, not 0",
        "overrides[1].set.dml.peers: must be at least 2, not 1",
        'smoke.set.training.epochs: must be a whole number, not "none"',
    ]


def test_settings_of_methods_that_do_not_exist_yet_are_let_pass(write) -> None:
    grid = "grid: {dataset: cifar10, network: resnet8, method: [baseline, future]}"
    load(write("overrides: [{set: {future.anything: 3}}]\nprotocol: {future: {head: student, epoch: last}}", grid=grid))


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("{dmll: {epoch: last}}", ['protocol.dmll: grid.method has no "dmll"; did you mean "dml"?']),
        ("{dml: {epoch: first}}",
         ['protocol.dml.epoch: "first" is not understood; write last, best, best-on-test or last-K (last-10)']),
        ("{dml: {epoch: last-0}}",
         ['protocol.dml.epoch: "last-0" is not understood; write last, best, best-on-test or last-K (last-10)']),
        ("{dml: {head: 'max(peer', epoch: last}}",
         ['protocol.dml.head: "max(peer" is not understood; write a head, mean(PATTERN) or max(PATTERN)']),
        ("{dml: {head: peer0}}", ["protocol.dml.epoch: is missing; add it"]),
    ],
)  # fmt: skip
def test_protocols_are_checked(write, protocol: str, expected: list[str]) -> None:
    assert mistakes(write(f"protocol: {protocol}")) == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("{dataset: cifar, network: resnet8, method: dml, mean: 94}",
         'reported.cells[0].dataset: grid.dataset has no "cifar"; did you mean "cifar10" or "cifar100"?'),
        ("{dataset: cifar10, network: resnet8, method: dml, mean: 940}",
         "reported.cells[0].mean: must be at most 100, not 940"),
        ("{dataset: cifar10, network: resnet8, method: dml, mean: 94, sd: 1}",
         'reported.cells[0].sd: unknown key; did you mean "std"?'),
        ("{dataset: cifar10, network: resnet8, method: dml, mean: 94, metric: eror}",
         'reported.cells[0].metric: there is no "eror"; did you mean "error"?'),
        ("{dataset: cifar10, network: resnet8, method: dml, mean: 94, dml.peers: 3}",
         "reported.cells[0]: dml.peers is not an axis of dml in the grid; remove it"),
    ],
)  # fmt: skip
def test_reported_cells_must_be_cells_of_the_grid(write, cell: str, expected: str) -> None:
    assert mistakes(write(f"reported:\n  cells:\n    - {cell}")) == [expected]


def test_a_cell_reported_twice_is_refused(write) -> None:
    cell = "{dataset: cifar10, network: resnet8, method: dml, mean: 94}"
    assert mistakes(write(f"reported: {{cells: [{cell}, {cell}]}}")) == [
        "reported: cells[0] and cells[1] are both cifar10 / resnet8 / dml; keep one"
    ]


AXIS = "grid:\n  dataset: [cifar10]\n  network: [resnet8]\n  method: [baseline, fake]\n  fake.alpha: [0.1, 0.5]"
LAYOUT = "table: {rows: method, columns: fake.alpha}"


@pytest.mark.usefixtures("fake_method")
@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"grid": AXIS.replace("fake.alpha", "fake.alhpa"), "table": "table: {rows: method, columns: fake.alhpa}"},
         ['grid.fake.alhpa: unknown setting; did you mean "fake.alpha"?']),
        ({"grid": AXIS.replace("0.5", "-1")}, ["grid.fake.alpha: must be above 0, not -1"]),
        ({"grid": AXIS.replace("0.5", "[1]")}, ["grid.fake.alpha[1]: must be a single value, not [1]"]),
        ({"extra": "overrides: [{set: {fake.alpha: 0.2}}]"},
         ["overrides[0].set.fake.alpha: is an axis of the grid and gets its values there; remove one of the two"]),
        ({"extra": "reported: {cells: [{dataset: cifar10, network: resnet8, method: fake, mean: 94}]}"},
         ["reported.cells[0]: fake.alpha is missing; say which of 0.1, 0.5 the number is for"]),
        ({"extra": "reported: {cells: [{dataset: cifar10, network: resnet8, method: fake, fake.alpha: 0.2, mean: 9}]}"},
         ['reported.cells[0]: grid.fake.alpha has no 0.2; choose from: 0.1, 0.5']),
        ({"extra": "smoke: {grid: {fake.alpha: 0.3}}"},
         ['smoke.grid: grid.fake.alpha has no 0.3; choose from: 0.1, 0.5']),
        ({"grid": AXIS.replace("fake]", "fake@relased]")},
         ['grid.method[1]: fake has no preset "relased"; did you mean "released"?']),
        ({"grid": AXIS.replace("fake]", "fake@released]"), "extra": "overrides: [{set: {fake.preset: paper}}]"},
         ['overrides[0].set.fake.preset: the label "fake@released" names a preset already; remove one of the two, '
          "or name a variant: variants: {fake@mine: {preset: released}}"]),
    ],
)  # fmt: skip
def test_settings_as_axes_are_checked(write, sections: dict[str, str], expected: list[str]) -> None:
    assert mistakes(write(**{"grid": AXIS, "table": LAYOUT, **sections})) == expected


def test_the_smoke_grid_must_lie_in_the_grid(write) -> None:
    assert mistakes(write("smoke: {grid: {network: [resnet9]}}")) == [
        'smoke.grid.network[0]: grid.network has no "resnet9"; did you mean "resnet8"?'
    ]
    assert SmokeGrid.model_validate({"network": "resnet8"}).axes == {"network": ("resnet8",)}


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of nested mappings and lists."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


@pytest.mark.parametrize("junk", [None, -1, 0.5, "x", True, [], [[1]], {}, {"a": {"b": [None]}}, {1: 2}], ids=repr)
def test_whatever_stands_anywhere_the_answer_is_lines_and_no_traceback(tmp_path: Path, junk: object) -> None:
    whole = yaml.safe_load(find("quickstart").read_text())
    path = tmp_path / "bent.yaml"
    for index in range(len(list(places(whole)))):
        bent = copy.deepcopy(whole)
        container, key = list(places(bent))[index]
        container[key] = copy.deepcopy(junk)
        path.write_text(yaml.safe_dump(bent, sort_keys=False))
        try:
            load(path)
        except UsageError as error:
            assert all(line.startswith(f"{path}:") for line in str(error).splitlines())


def test_a_reference_with_several_cells_of_its_own_is_refused(write: Write) -> None:
    grid = "grid: {dataset: cifar10, network: resnet8, method: [baseline, dml], dml.temperature: [1, 2]}"
    path = write(grid=grid, table="table: {rows: dml.temperature, columns: method, reference: dml}")
    with pytest.raises(UsageError, match=r"table: reference: dml has a cell for each dml\.temperature"):
        load(path)


def test_a_recipe_is_laid_over_another(write, tmp_path: Path) -> None:
    base = load(write(name="base", extra="readings:\n  ema: {averaged: true}\n  late: {epoch: last-3}"))
    other = tmp_path / "other.yaml"
    other.write_text(
        "title: Another\nextends: base.yaml\nseeds: [7]\ntraining: {epochs: 9}\n"
        "readings: {late: null, best: {epoch: best}}\n"
    )
    recipe = load(other)
    assert (recipe.name, recipe.title, recipe.seeds) == ("other", "Another", (7,))
    assert recipe.training.model_dump() == {**base.training.model_dump(), "epochs": 9}
    assert set(recipe.readings) == {"ema", "best"}
    assert recipe.grid == base.grid


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: A\nextends: 3\n", "a.yaml:2: extends: must be the name of a recipe, or a file beside this one"),
        ("extends: quikstart\n", 'a.yaml:1: extends: unknown recipe "quikstart": did you mean "quickstart"?'),
        ("extends: a.yaml\n", "a.yaml:1: extends: a.yaml extends this recipe; let one of them stand alone"),
        ("extends: quickstart\nseeds: many\n", "a.yaml:2: seeds"),
    ],
)
def test_what_cannot_be_extended(text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(text)
    with pytest.raises(UsageError) as error:
        load(Path("a.yaml"))
    assert str(error.value).startswith(said)


def test_the_study_of_splits_has_the_runs_of_the_study() -> None:
    study, splits = (expand(load(name)) for name in ("small-cifar100", "small-cifar100-splits"))
    assert {run.id for run in splits.runs} == {run.id for run in study.runs}

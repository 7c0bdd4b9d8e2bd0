from pathlib import Path
from typing import Any

import pytest

from okdbench.errors import UsageError
from okdbench.plan import Cell, Plan, Reported, Selection, expand
from okdbench.recipe import CellKey, load

FAKE_GRID = """
grid:
  dataset: [cifar10]
  network: [resnet8]
  method: [baseline, fake]
  fake.alpha: [0.1, 0.5]
"""
FAKE_TABLE = "table: {rows: method, columns: fake.alpha}"


def plan_of(path: Path, **selection: Any) -> Plan:
    return expand(load(path), Selection(**selection))


def cell_of(plan: Plan, *key: str) -> Cell:
    (found,) = (cell for cell in plan.cells if cell.key[:3] == key)
    return found


def refused(path: Path, **selection: Any) -> list[str]:
    with pytest.raises(UsageError) as error:
        plan_of(path, **selection)
    return str(error.value).splitlines()


def test_cells_and_runs_come_in_the_order_of_the_grid_and_the_same_every_time(write) -> None:
    path = write()
    plan = plan_of(path)
    assert [tuple(cell.key[:3]) for cell in plan.cells] == [
        (dataset, network, method)
        for dataset in ("cifar10", "cifar100")
        for network in ("resnet8", "resnet20")
        for method in ("baseline", "dml")
    ]
    assert [(run.cell, run.config.seed) for run in plan.runs] == [
        (cell.key, seed) for cell in plan.cells for seed in (0, 1)
    ]
    assert [run.id for run in plan.runs] == [run.id for run in plan_of(path).runs]
    assert len({run.id for run in plan.runs}) == 16


def test_ids_are_pinned(write) -> None:
    """They are the folder names of stored results: this test may only change when the meaning of a run does."""
    overrides = "overrides: [{when: {method: dml}, set: {dml.temperature: 2, training.epochs: 5}}]"
    plan = plan_of(write(overrides))
    baseline = cell_of(plan, "cifar10", "resnet8", "baseline").runs[0]
    assert baseline.config.folder == "cifar10.resnet8.baseline.s0.872b724070b8"
    dml = cell_of(plan, "cifar100", "resnet20", "dml").runs[1]
    assert dml.config.folder == "cifar100.resnet20.dml.s1.78067df82628"


def test_writing_out_a_default_does_not_make_another_run(write) -> None:
    plain = plan_of(write(name="plain"))
    spelt_out = plan_of(write("data: {normalisation: dkel}\noverrides: [{set: {dml.peers: 2, dml.preset: paper}}]"))
    assert [run.id for run in plain.runs] == [run.id for run in spelt_out.runs]


def test_overrides_apply_in_order_to_the_cells_that_match(write) -> None:
    plan = plan_of(
        write(
            """
overrides:
  - set: {training.epochs: 10, dml.peers: 3}
  - {when: {network: resnet20, dataset: [cifar10]}, set: {training.epochs: 20}}
  - {when: {network: resnet20, method: dml}, set: {training.epochs: 30, training.optimizer.lr: 1e-2}}
"""
        )
    )
    epochs = {cell.key: cell.runs[0].config.training.epochs for cell in plan.cells}
    assert epochs[CellKey("cifar10", "resnet8", "dml")] == 10
    assert epochs[CellKey("cifar100", "resnet20", "baseline")] == 10
    assert epochs[CellKey("cifar10", "resnet20", "baseline")] == 20
    assert epochs[CellKey("cifar10", "resnet20", "dml")] == 30
    changed = cell_of(plan, "cifar100", "resnet20", "dml").runs[0].config
    assert (changed.training.optimizer.lr, changed.training.optimizer.momentum) == (0.01, 0.9)
    assert changed.settings == {"peers": 3}
    assert cell_of(plan, "cifar10", "resnet8", "baseline").runs[0].config.settings == {}
    assert all(cell.changed == () for cell in plan.cells)


@pytest.mark.usefixtures("fake_method")
def test_a_setting_as_an_axis_multiplies_only_its_methods_cells(write) -> None:
    reported = """
reported:
  cells:
    - {dataset: cifar10, network: resnet8, method: fake, fake.alpha: 0.1, mean: 93.5}
"""
    plan = plan_of(write(reported, grid=FAKE_GRID, table=FAKE_TABLE))
    assert [(cell.method, cell.settings) for cell in plan.cells] == [
        ("baseline", ()),
        ("fake", (("fake.alpha", 0.1),)),
        ("fake", (("fake.alpha", 0.5),)),
    ]
    assert [cell.runs[0].config.settings for cell in plan.cells] == [{}, {"alpha": 0.1}, {}]
    assert [cell.reported.mean if cell.reported else None for cell in plan.cells] == [None, 93.5, None]
    assert str(plan.cells[1].key) == "cifar10 / resnet8 / fake / fake.alpha=0.1"


@pytest.mark.usefixtures("fake_method")
def test_a_label_may_name_a_preset(write) -> None:
    grid = "grid: {dataset: cifar10, network: resnet8, method: [fake, fake@released]}"
    extra = """
overrides: [{set: {fake.peers: 5}}]
protocol: {fake: {head: deployed, epoch: best}, fake@released: {head: "max(teacher?)", epoch: last-3}}
"""
    plan = plan_of(write(extra, grid=grid, table="table: {columns: method}"))
    paper, released = plan.cells
    assert (paper.method, released.method) == ("fake", "fake@released")
    assert released.runs[0].config.method == "fake"
    assert paper.runs[0].config.settings == {"peers": 5}
    assert released.runs[0].config.settings == {"alpha": 0.1, "peers": 5}
    assert (paper.protocol.head, paper.protocol.epoch) == ("deployed", "best")
    assert (released.protocol.head, released.protocol.epoch) == ("max(teacher?)", "last-3")


@pytest.mark.usefixtures("fake_method")
def test_an_override_may_name_a_preset_and_change_it(write) -> None:
    grid = "grid: {dataset: cifar10, network: resnet8, method: fake}"
    plan = plan_of(write("overrides: [{set: {fake.peers: 6, fake.preset: released}}]", grid=grid))
    assert plan.runs[0].config.settings == {"alpha": 0.1, "peers": 6}


def test_without_a_protocol_the_deployed_head_counts_at_the_last_epoch(write) -> None:
    plan = plan_of(write())
    assert {(cell.protocol.head, cell.protocol.epoch) for cell in plan.cells} == {("deployed", "last")}


def test_two_labels_for_the_same_run_train_it_once(write) -> None:
    plan = plan_of(write(grid="grid: {dataset: cifar10, network: resnet8, method: [dml, dml@paper]}"))
    assert [len(cell.runs) for cell in plan.cells] == [2, 2]
    assert len(plan.runs) == 2


def test_reported_numbers_take_the_common_metric_and_provenance(write) -> None:
    reported = """
reported:
  metric: error
  provenance: table
  cells:
    - {dataset: cifar10, network: resnet8, method: dml, mean: 6.5, std: 0.2, n: 3}
    - {dataset: cifar10, network: resnet20, method: dml, mean: 93, metric: accuracy, provenance: paper, trust: low}
"""
    plan = plan_of(write(reported))
    assert cell_of(plan, "cifar10", "resnet8", "dml").reported == Reported(6.5, 0.2, 3, "error", "table", None, "")
    assert cell_of(plan, "cifar10", "resnet20", "dml").reported == Reported(
        93.0, None, None, "accuracy", "paper", "low", ""
    )
    assert cell_of(plan, "cifar10", "resnet8", "baseline").reported is None


def test_a_selection_narrows_the_grid_and_keeps_its_order(write) -> None:
    plan = plan_of(write(), datasets=("cifar100",), methods=("dml", "baseline"), seeds=(1,))
    assert [tuple(cell.key[:3]) for cell in plan.cells] == [
        ("cifar100", network, method) for network in ("resnet8", "resnet20") for method in ("baseline", "dml")
    ]
    assert [run.config.seed for run in plan.runs] == [1, 1, 1, 1]


def test_all_mistakes_in_a_selection_are_told_at_once(write) -> None:
    assert refused(
        write(),
        datasets=("cifar",),
        methods=("dkel",),
        seeds=(7,),
        settings={"training.epoch": 3, "dml.peers": 3},
    ) == [
        '--dataset cifar: is not in the grid of mine; did you mean "cifar10" or "cifar100"?',
        "--method dkel: is not in the grid of mine; choose from: baseline, dml",
        "--seed 7: is not among the seeds of mine; choose from: 0, 1",
        '--set training.epoch=3: unknown setting; did you mean "training.epochs"?',
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"training.epochs": "abc"}, '--set training.epochs="abc": must be a whole number, not "abc"'),
        ({"dml.peers": 1}, "--set dml.peers=1: must be at least 2, not 1"),
        ({"pcl.peers": 3}, '--set pcl.peers=3: unknown setting; did you mean "dml.peers"?'),
    ],
)
def test_bad_settings_are_told_as_options(write, settings: dict[str, Any], expected: str) -> None:
    assert refused(write(), settings=settings) == [expected]


@pytest.mark.usefixtures("fake_method")
def test_an_axis_of_the_grid_cannot_be_set(write) -> None:
    path = write(grid=FAKE_GRID, table=FAKE_TABLE)
    assert refused(path, settings={"fake.alpha": 1.0}) == [
        "--set fake.alpha=1.0: is an axis of the grid and gets its values there; remove one of the two"
    ]


def test_changed_settings_make_other_runs_and_are_listed(write) -> None:
    path = write("overrides: [{set: {training.epochs: 6}}]")
    plan = plan_of(path, settings={"training.epochs": 2, "data.subset": 100, "dml.temperature": 3})
    assert cell_of(plan, "cifar10", "resnet8", "baseline").changed == ("data.subset=100", "training.epochs=2")
    dml = cell_of(plan, "cifar10", "resnet8", "dml")
    assert dml.changed == ("data.subset=100", "dml.temperature=3.0", "training.epochs=2")
    assert dml.runs[0].config.settings == {"temperature": 3.0}
    assert not {run.id for run in plan.runs} & {run.id for run in plan_of(path).runs}


def test_setting_what_the_recipe_says_already_changes_nothing(write) -> None:
    path = write()
    plan = plan_of(path, settings={"training.epochs": 4, "dml.preset": "paper"})
    assert all(cell.changed == () for cell in plan.cells)
    assert plan.runs == plan_of(path).runs


SMOKE = """
smoke:
  grid: {dataset: [cifar10], network: [resnet20]}
  set: {training.epochs: 1, data.subset: 64}
"""


def test_a_smoke_run_is_the_recipes_smallest_trial(write) -> None:
    plan = plan_of(write(SMOKE), smoke=True, settings={"data.subset": 32})
    assert [tuple(cell.key[:3]) for cell in plan.cells] == [
        ("cifar10", "resnet20", "baseline"),
        ("cifar10", "resnet20", "dml"),
    ]
    assert [run.config.seed for run in plan.runs] == [0, 0]
    assert {(run.config.training.epochs, run.config.data.subset) for run in plan.runs} == {(1, 32)}
    assert plan.cells[0].changed == ("data.subset=32", "training.epochs=1")


def test_a_selection_goes_before_the_smoke_grid(write) -> None:
    plan = plan_of(write(SMOKE), smoke=True, datasets=("cifar100",), seeds=(1,))
    assert [(run.config.dataset, run.config.network, run.config.seed) for run in plan.runs] == [
        ("cifar100", "resnet20", 1)
    ] * 2


def test_every_recipe_has_smoke_settings(write) -> None:
    (run, *_) = plan_of(write(), smoke=True).runs
    assert (run.config.training.epochs, run.config.data.subset, run.config.data.test_subset) == (1, 64, 64)


def test_a_smoke_run_takes_synthetic_images_where_the_real_ones_are_absent(write) -> None:
    plan = plan_of(write(), smoke=True, data_present=lambda name: name == "cifar10")
    here, absent = (cell_of(plan, dataset, "resnet8", "dml") for dataset in ("cifar10", "cifar100"))
    assert here.runs[0].config.dataset == "cifar10"
    assert absent.runs[0].config.dataset == "synthetic-cifar100"
    assert absent.dataset == "cifar100"
    assert absent.changed[0] == "dataset=synthetic-cifar100"


def test_other_runs_never_take_synthetic_images(write) -> None:
    plan = plan_of(write(), data_present=lambda name: False)
    assert {run.config.dataset for run in plan.runs} == {"cifar10", "cifar100"}


def test_cells_that_cannot_be_trained_yet_say_why(write) -> None:
    grid = "grid: {dataset: [cifar10, stars], network: [resnet8, galaxy], method: [baseline, future]}"
    plan = plan_of(write(grid=grid), smoke=True, data_present=lambda name: False)
    reasons = {tuple(cell.key[:3]): cell.unavailable for cell in plan.cells}
    assert reasons["cifar10", "resnet8", "baseline"] is None
    assert reasons["cifar10", "resnet8", "future"] == 'unknown method "future" (did you forget --plugin FILE.py?)'
    assert reasons["cifar10", "galaxy", "baseline"] == 'unknown network "galaxy" (did you forget --plugin FILE.py?)'
    assert reasons["stars", "galaxy", "baseline"] == (
        'unknown data set "stars" and network "galaxy" (did you forget --plugin FILE.py?)'
    )
    assert [tuple(run.cell[:3]) for run in plan.runs] == [("cifar10", "resnet8", "baseline")]


def test_a_selection_may_name_a_preset_that_the_grid_lacks() -> None:
    recipe = load("dkel-table1")
    names = {"datasets": ("cifar10",), "networks": ("resnet32",), "seeds": (0,)}
    (cell,) = expand(recipe, Selection(methods=("dkel@released",), **names)).cells
    (planned,) = expand(recipe, Selection(methods=("dkel",), **names)).cells
    assert cell.method == "dkel@released"
    assert cell.reported is None, "the table prints no number for it"
    assert "dkel.ramp=released" in cell.changed
    assert cell.runs[0].config.method == "dkel"
    assert cell.runs[0].config.settings["ramp"] == "released"
    assert cell.runs[0].id != planned.runs[0].id
    with pytest.raises(UsageError, match="dkel@relased"):
        expand(recipe, Selection(methods=("dkel@relased",), **names))


def test_an_unknown_network_is_told_with_what_it_may_mean(write) -> None:
    plan = plan_of(write(grid="grid: {dataset: cifar10, network: resnet110, method: baseline}"))
    assert 'network "resnet110" (it may mean resnet110_basic' in plan.cells[0].unavailable


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"data.subset": 50_001}, "--set data.subset=50001: must be at most 50000"),
        ({"data.validation": 50_000}, "--set data.validation=50000: must be below 50000"),
        ({"data.test_subset": 10_001}, "--set data.test_subset=10001: must be at most 10000"),
        ({"data.subset": 65}, "training.batch_size: 64 leaves a last batch of one image"),
        ({"training.batch_size": 1}, "--set training.batch_size=1: 1 makes batches of one image"),
    ],
)
def test_impossible_numbers_of_images_are_told_before_training(settings: dict, told: str, write) -> None:
    with pytest.raises(UsageError) as error:
        expand(load(write()), Selection(settings=settings))
    assert told in str(error.value)


def test_class_aware_batches_leave_out_a_last_image(write) -> None:
    grid = "grid: {dataset: cifar10, network: resnet8, method: [mcl]}"
    recipe = load(write("data: {subset: 65}", grid=grid, table="table: {columns: method}"))
    assert expand(recipe, Selection()).runs
    with pytest.raises(
        UsageError, match=r"--set training\.batch_size=63: 63 cannot be divided among classes with 2 images"
    ):
        expand(recipe, Selection(settings={"training.batch_size": 63}))
    with pytest.raises(UsageError, match=r"training\.batch_size: 64 leaves a last batch of one image"):
        expand(recipe, Selection(settings={"mcl.images_per_class": 0}))

"""Linear probes as a plan: their trainings come first, as another recipe has them, and their settings are checked."""

import re
from pathlib import Path

import fabricate
import pytest
from pages import ROOT, files

from okdbench.errors import UsageError
from okdbench.plan import Selection, expand
from okdbench.plan.jobs import plan_jobs
from okdbench.plan.probe import ProbePlan, ProbeRun
from okdbench.recipe import load
from okdbench.runs.probe import ProbeConfig

KIND = "kind: probe"
GRID = "grid: {dataset: [stl10, cifar10], network: resnet8, method: [baseline, kd]}"
TABLE = "table: {rows: network, columns: method, panels: dataset}"
KD = "teachers: {kd: {network: resnet20, method: baseline}}"
TRAININGS = "grid: {dataset: cifar100, network: resnet8, method: [baseline, kd]}"


def probes(write, extra: str = "", selection: Selection | None = None) -> ProbePlan:
    plan = expand(load(write(f"{KD}\n{extra}", kind=KIND, grid=GRID, table=TABLE)), selection)
    assert isinstance(plan, ProbePlan)
    return plan


def test_each_probe_comes_after_its_training_and_that_after_its_teacher(write) -> None:
    plan = probes(write)
    places = {run.config.folder: place for place, run in enumerate(plan.runs)}
    probed = [run for run in plan.runs if isinstance(run, ProbeRun)]
    assert len(probed) == sum(len(cell.runs) for cell in plan.cells) == 8
    assert len(plan.runs) == 8 + 4 + 2, "both data sets share the trainings"
    for run in plan.runs:
        assert all(places[name] < places[run.config.folder] for name in run.config.after)
    first = probed[0].config
    assert (first.dataset, first.source.dataset, first.source.seed) == ("stl10", "cifar100", first.seed)


def test_its_trainings_are_those_of_a_recipe_of_trainings(write) -> None:
    needed = {run.id for run in probes(write).runs if not isinstance(run, ProbeRun)}
    trained = {run.id for run in expand(load(write(KD, grid=TRAININGS, table="table: {rows: network}"))).runs}
    assert needed == trained


def test_the_protocol_is_that_of_hsakd(write) -> None:
    config = probes(write).cells[0].runs[0].config
    assert isinstance(config, ProbeConfig)
    training, probe = config.training, config.probe
    assert (training.epochs, training.batch_size, training.schedule.milestones) == (100, 64, (30, 60, 90))
    assert (training.optimizer.lr, training.optimizer.momentum, training.optimizer.nesterov) == (0.1, 0.9, True)
    assert (training.optimizer.weight_decay, probe.view, probe.crop_area) == (0, "resized-crop", (0.08, 1.0))


def test_settings_of_probes_and_of_trainings_are_apart(write) -> None:
    plan = probes(write, selection=Selection(settings={"training.epochs": 2, "probe.training.epochs": 3}))
    cell = plan.cells[0]
    assert set(cell.changed) == {"training.epochs=2", "probe.training.epochs=3"}
    assert {(run.config.epochs, run.config.source.epochs) for run in cell.runs} == {(3, 2)}


def test_an_override_may_be_for_one_data_set(write) -> None:
    extra = "overrides: [{when: {dataset: stl10}, set: {probe.view: whole, probe.training.optimizer.lr: 30}}]"
    views = {cell.dataset: cell.runs[0].config.probe for cell in probes(write, extra).cells}
    assert (views["stl10"].view, views["cifar10"].view) == ("whole", "resized-crop")
    assert views["stl10"].training.optimizer.lr == 30


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ("probe: {view: part}", "probe.view: "),
        ("probe: {crop_area: [0.5, 0.1]}", "probe.crop_area: must be two parts"),
        ("probe: {data: {policies: [cutout]}}", "probe.data: has policies, which a probe's images do not get"),
        ("probe: {data: {normalisation: x}}", "probe.data.normalisation: there is no preset"),
        ("probe: {training: {ema: {}}}", "probe.training: ema: a classifier on frozen features has no moving average"),
        ("overrides: [{set: {probe.vew: whole}}]", 'unknown setting; did you mean "probe.view"?'),
    ],
)
def test_mistakes_are_named(extra: str, told: str, write) -> None:
    with pytest.raises(UsageError) as error:
        probes(write, extra)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ("protocol: {default: {head: peer0, epoch: last}}", "pcl needs peer0, and only teacher0 is read; add peer0"),
        ("readings: {own: {head: teacher0}}\nprobe: {heads: [peer0]}", "the reading own of pcl needs teacher0, and"),
        ("readings: {ema: {averaged: true}}", "ema of pcl needs deployed@ema, and only teacher0 is read; let the rea"),
        ("probe: {heads: [student]}", "pcl has none of them; its heads are peer0, "),
    ],
)
def test_a_number_of_a_head_that_is_not_probed_is_refused_before_training(extra: str, told: str, write) -> None:
    grid = "grid: {dataset: [stl10, cifar10], network: resnet8, method: [pcl]}"
    path = write(extra, kind=KIND, grid=grid, table=TABLE)
    with pytest.raises(UsageError) as error:
        expand(load(path))
    [line] = str(error.value).splitlines()
    assert re.match(rf"{re.escape(str(path))}:\d+: probe\.heads: ", line) and told in line


def test_heads_on_the_command_line_are_checked_there(write) -> None:
    with pytest.raises(UsageError, match=r"^--set probe\.heads=.*: baseline has none of them; its heads are student$"):
        probes(write, selection=Selection(methods=("baseline",), settings={"probe.heads": ["peer0"]}))


@pytest.mark.parametrize(
    "extra",
    [
        "protocol: {default: {head: teacher0, epoch: last}}",
        "protocol: {default: {head: mean(peer?), epoch: last}}\nprobe: {heads: [peer0, peer1]}",
        "probe: {heads: [peer1]}",
        "protocol: {default: {head: peer2, epoch: last}}\nprobe: {heads: ['peer?']}",
    ],
)
def test_heads_that_are_probed_can_be_read(extra: str, write) -> None:
    grid = "grid: {dataset: stl10, network: resnet8, method: [pcl]}"
    assert expand(load(write(extra, kind=KIND, grid=grid, table="table: {rows: network}"))).runs


def test_the_example_of_the_page_is_planned_as_a_whole_and_as_a_smoke_run(tmp_path: Path) -> None:
    [(name, text)] = files((ROOT / "docs" / "transfer.md").read_text()).items()
    (tmp_path / name).write_text(text)
    recipe = load(tmp_path / name)
    whole = [run.config for cell in expand(recipe).cells for run in cell.runs]
    assert {(each.dataset, each.epochs, each.probe.view, each.source.epochs) for each in whole} == {
        ("svhn", 50, "whole", 300)
    }
    assert {run.config.epochs for run in expand(recipe, Selection(smoke=True)).runs} == {1}


def test_numbers_of_images_are_those_of_the_probed_data_set(write) -> None:
    with pytest.raises(UsageError, match=r"--set probe.data.subset=6000: must be at most 5000, the training images of"):
        probes(write, selection=Selection(settings={"probe.data.subset": 6000}))


def test_cells_of_unknown_data_sets_cannot_run(write) -> None:
    [first, *_] = probes(write, "probe: {source: cifar1000}").cells
    assert first.unavailable is not None
    assert 'unknown data set "cifar1000"' in first.unavailable
    assert first.runs == ()


def test_a_smoke_run_takes_synthetic_images_for_both(write) -> None:
    plan = probes(write, selection=Selection(smoke=True, data_present=lambda name: name == "cifar10"))
    found = {(run.config.dataset, run.config.source.dataset) for cell in plan.cells for run in cell.runs}
    assert found == {("synthetic-stl10", "synthetic-cifar100"), ("cifar10", "synthetic-cifar100")}
    assert {run.config.epochs for run in plan.runs} == {1}
    assert "probe.source=synthetic-cifar100" in plan.cells[0].changed


def test_what_a_lost_network_needs_is_trained_again_too(write, tmp_path: Path) -> None:
    plan = probes(write, selection=Selection(datasets=("stl10",), methods=("kd",), seeds=(0,)))
    teacher, source, probe = plan.runs
    for run in (teacher, source):  # as in a clone of published records, without weights
        fabricate.run(tmp_path, run.config, {"student": [50.0] * 4}, recipe=plan.recipe.name)
    assert [each.todo for each in plan_jobs(plan, tmp_path)] == [True, True, True]
    (tmp_path / plan.recipe.name / source.config.folder / "weights.pt").write_bytes(b"x")  # a record without a hash
    assert [each.todo for each in plan_jobs(plan, tmp_path)] == [False, False, True]
    fabricate.run(tmp_path, probe.config, {"student": [50.0] * 100}, recipe=plan.recipe.name)
    assert not any(each.todo for each in plan_jobs(plan, tmp_path))


def test_probes_cost_less_than_trainings(write) -> None:
    plan = probes(write)
    cost, training = plan.cells[0].runs[0].cost(), plan.runs[0].cost()
    assert cost.parameters == 64 * 10 + 10
    assert cost.macs == training.macs
    assert cost.petaflop < training.petaflop
    whole = probes(write, selection=Selection(settings={"probe.view": "whole"})).cells[0].runs[0].cost()
    assert whole.petaflop < cost.petaflop / 10

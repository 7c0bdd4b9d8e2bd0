"""The recipes that come with the package."""

from typing import Any

import pytest

from okdbench.config import MultistepSchedule
from okdbench.methods import configure
from okdbench.plan import Cell, Plan, Selection, expand
from okdbench.recipe import available, load


@pytest.fixture(scope="module")
def table1() -> Plan:
    return expand(load("dkel-table1"))


def reported(plan: Plan, dataset: str, method: str) -> list[float]:
    cells = [cell for cell in plan.cells if (cell.dataset, cell.method) == (dataset, method)]
    return [cell.reported.mean for cell in cells if cell.reported]


def cell(plan: Plan, *key: str) -> Cell:
    (found,) = (cell for cell in plan.cells if cell.key[:3] == key)
    return found


@pytest.mark.parametrize("name", available())
def test_every_recipe_is_valid_and_can_be_smoked(name: str) -> None:
    plan = expand(load(name), Selection(smoke=True, data_present=lambda dataset: False))
    assert plan.runs
    for config in (run.config for run in plan.runs):
        if config.kind == "simulation":
            assert config.settings.trials <= 100
        else:
            assert config.epochs == 1
            assert config.data.subset


def test_the_quickstart_runs_whole() -> None:
    plan = expand(load("quickstart"))
    assert [cell.method for cell in plan.cells] == ["baseline", "dml", "one", "pcl", "dkel"]
    assert all(cell.unavailable is None and cell.reported is None for cell in plan.cells)
    assert len(plan.runs) == 30
    assert {(cell.protocol.head, cell.protocol.epoch) for cell in plan.cells} == {("deployed", "last")}


def test_table1_has_all_80_numbers_with_their_standard_deviations(table1: Plan) -> None:
    numbers = [cell.reported for cell in table1.cells if "@" not in cell.method]
    assert len(numbers) == 80
    assert not any(cell.reported for cell in table1.cells if "@" in cell.method), "columns of our own"
    assert all(number and number.std is not None and number.metric == "accuracy" for number in numbers)
    assert sum(1 for number in numbers if number and number.n == 3 and number.trust == "low") == 60
    assert sum(1 for number in numbers if number and number.n is None and number.trust == "high") == 20


@pytest.mark.parametrize(
    ("dataset", "gains"),
    [("cifar10", [0.23, 0.16, 0.61, 0.52, 0.11]), ("cifar100", [0.69, 0.42, 0.24, 0.40, 0.09])],
)
def test_the_gains_of_dkel_over_pcl_are_the_papers(table1: Plan, dataset: str, gains: list[float]) -> None:
    pairs = zip(reported(table1, dataset, "dkel"), reported(table1, dataset, "pcl"), strict=True)
    assert [dkel - pcl for dkel, pcl in pairs] == pytest.approx(gains, abs=1e-6)


def test_some_copied_numbers(table1: Plan) -> None:
    assert reported(table1, "cifar10", "okddip") == [94.17, 95.14, 93.98, 92.64, 94.83]
    assert reported(table1, "cifar100", "baseline") == [71.28, 76.21, 74.32, 71.03, 78.03]
    dense = cell(table1, "cifar100", "densenet40_12_bc", "dml").reported
    assert dense and (dense.mean, dense.std, dense.note) == (72.60, 0.31, "copied but differs from PCL (73.06)")


def test_table1_trains_as_the_authors_code_does(table1: Plan) -> None:
    run = cell(table1, "cifar100", "resnet32", "dkel").runs[2]
    training = run.config.training
    assert (run.config.seed, run.config.data.normalisation) == (2, "dkel")
    assert (training.epochs, training.batch_size) == (300, 128)
    assert training.optimizer.model_dump() == {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    assert training.schedule == MultistepSchedule(name="multistep", milestones=(150, 225), gamma=0.1)


def test_table1_evaluates_as_the_sources_do(table1: Plan) -> None:
    protocols = {c.method: (c.protocol.head, c.protocol.epoch) for c in table1.cells}
    peers, teachers = ("mean(peer?)", "best"), ("max(teacher?)", "best")
    assert protocols == {
        "baseline": ("student", "best"),
        "dml": peers,
        "cl": peers,
        "one": peers,
        "okddip": ("leader", "best"),
        "kdcl": peers,
        "pcl": teachers,
        "pcl@as-dkel": teachers,
        "dkel": teachers,
        "dkel@as-pcl": teachers,
    }


@pytest.mark.parametrize("network", ["resnet32", "densenet40_12_bc"])
def test_columns_of_our_own_are_like_for_like(table1: Plan, network: str) -> None:
    """Each differs from the other method's column in nothing but what DKEL adds."""

    def of(label: str) -> tuple[str, dict[str, Any]]:
        config = cell(table1, "cifar100", network, label).runs[0].config
        return config.network, configure(config.method, config.settings).model_dump()

    added = {"teacher_init", "init_steps", "init_extra_step", "init_lr", "init_weight_decay", "ensemble", "decay"}
    for one, other in (("pcl@as-dkel", "dkel"), ("pcl", "dkel@as-pcl")):
        (network_of_one, mine), (network_of_other, its) = of(one), of(other)
        assert network_of_one == network_of_other
        differing = {name for name in mine if mine[name] != its[name]}
        assert differing <= added


def test_table1_compares_with_dml_as_the_okddip_code_has_it(table1: Plan) -> None:
    settings = cell(table1, "cifar10", "resnet32", "dml").runs[0].config.settings
    assert settings["peers"] == 3
    assert settings["target"] == "logit-mean"
    assert settings["detach"] is False

"""The published tables that come as recipes: their numbers, what they train, what they read off a run."""

from functools import cache

import pandas as pd
import pytest
import torch

from okdbench import methods, networks
from okdbench.config import RunConfig
from okdbench.methods import Build, Method
from okdbench.recipe import Cell, Plan, SimulationPlan, available, expand, load
from okdbench.results.protocol import evaluate

Key = tuple[str | int | float, ...]


@cache
def plan_of(name: str) -> Plan:
    plan = expand(load(name))
    assert isinstance(plan, Plan)
    return plan


TABLES = [name for name in available() if not isinstance(expand(load(name)), SimulationPlan)]


def cell(name: str, *key: str | int | float) -> Cell:
    """The cell with this data set, network and method label, and these values of its extra axes."""
    (found,) = (c for c in plan_of(name).cells if (*c.key[:3], *(value for _, value in c.settings)) == key)
    return found


def settings(name: str, *key: str | int | float) -> dict[str, object]:
    """The settings of the cell's runs."""
    return cell(name, *key).runs[0].config.settings


@pytest.mark.parametrize("name", TABLES)
def test_every_printed_number_is_in_the_plan_with_its_source(name: str) -> None:
    recipe = plan_of(name).recipe
    shown = [c.reported for c in plan_of(name).cells if c.reported]
    assert len(shown) == len(recipe.reported.cells if recipe.reported else ())
    assert all(number.trust in ("high", "low") and number.provenance for number in shown)
    assert bool(recipe.source) == (name not in ("quickstart", "fair-cifar100"))


@pytest.mark.parametrize(
    ("name", "cells", "numbers", "unavailable"),
    [
        ("dkel-table2", 14, 14, 0),
        ("dkel-table3", 8, 8, 0),
        ("dkel-table4", 20, 20, 0),
        ("dkel-figure2", 4, 0, 0),
        ("dkel-figure6", 20, 4, 0),
        ("dkel-figure7", 3, 0, 0),
        ("pcl-table1", 96, 96, 26),
        ("pcl-table2", 8, 8, 1),
        ("pcl-table3", 8, 8, 2),
        ("pcl-table4", 6, 6, 0),
        ("okddip-table2", 35, 35, 0),
        ("okddip-table4", 12, 12, 0),
        ("okddip-table5", 6, 6, 1),
        ("okddip-table6", 12, 8, 6),
        ("okddip-figure3", 18, 12, 0),
        ("one-table1", 24, 24, 16),
        ("one-table5", 8, 8, 2),
        ("one-table6", 5, 5, 0),
        ("dml-table2", 18, 15, 15),
        ("fair-cifar100", 46, 0, 0),
    ],
)
def test_how_much_of_each_table_there_is(name: str, cells: int, numbers: int, unavailable: int) -> None:
    plan = plan_of(name)
    assert len(plan.cells) == cells
    assert sum(1 for c in plan.cells if c.reported) == numbers
    assert sum(1 for c in plan.cells if c.unavailable) == unavailable


@pytest.mark.parametrize(
    ("name", "key", "printed"),
    [
        ("dkel-table2", ("tiny-imagenet", "tiny_resnet18", "baseline"), (51.43, 0.03, "accuracy")),
        ("dkel-table2", ("tiny-imagenet", "tiny_resnet34", "okddip"), (56.82, 0.03, "accuracy")),
        ("dkel-table2", ("tiny-imagenet", "tiny_resnet34", "dkel"), (64.66, 0.09, "accuracy")),
        ("dkel-table3", ("cifar10", "resnet32", "dkel@de"), (94.35, None, "accuracy")),
        ("dkel-table3", ("cifar100", "resnet32", "dkel@dk"), (74.67, None, "accuracy")),
        ("dkel-table3", ("cifar100", "resnet32", "dkel@pcl"), (74.14, None, "accuracy")),
        ("dkel-table4", ("cifar10", "vgg16_mlp", "dkel", 0.05), (94.62, None, "accuracy")),
        ("dkel-table4", ("cifar100", "densenet40_12_bc", "dkel", 0.2), (72.82, None, "accuracy")),
        ("dkel-table4", ("cifar10", "densenet40_12_bc", "dkel", 1.0), (93.64, None, "accuracy")),
        ("dkel-figure6", ("cifar10", "resnet32", "dkel", 10), (94.63, None, "accuracy")),
        ("dkel-figure6", ("cifar100", "resnet32", "dkel", 1), (74.83, None, "accuracy")),
        ("dkel-figure6", ("cifar100", "resnet32", "dkel", 5), (74.96, None, "accuracy")),
        ("pcl-table1", ("cifar10", "wrn20_8_tv", "kdcl"), (4.73, 0.16, "error")),
        ("pcl-table1", ("cifar100", "resnext29_2x64d", "pcl"), (17.38, 0.23, "error")),
        ("pcl-table1", ("cifar100", "vgg16_mlp", "ffl"), (29.13, 0.99, "error")),
        ("pcl-table2", ("cifar100", "resnet110_bottleneck", "baseline"), (23.79, 0.57, "error")),
        ("pcl-table2", ("cifar100", "resnet110_bottleneck", "pcl@ce"), (23.48, 0.99, "error")),
        ("pcl-table2", ("cifar100", "resnet110_bottleneck", "pcl@logit-sum"), (20.43, 0.71, "error")),
        ("pcl-table3", ("cifar10", "resnet110_bottleneck", "one"), (4.75, 0.27, "error")),
        ("pcl-table3", ("cifar100", "resnet110_bottleneck", "okddip"), (20.93, 0.57, "error")),
        ("pcl-table3", ("cifar100", "resnet110_bottleneck", "pcl"), (19.49, 0.49, "error")),
        ("pcl-table4", ("cifar10", "resnet32", "kd"), (5.82, 0.12, "error")),
        ("pcl-table4", ("cifar100", "resnet32", "kd"), (26.23, 0.21, "error")),
        ("pcl-table4", ("cifar100", "resnet32", "pcl"), (25.86, None, "error")),
        ("okddip-table2", ("cifar100", "densenet40_12_bc", "okddip@networks"), (26.10, 0.03, "error")),
        ("okddip-table2", ("cifar100", "resnet32", "okddip"), (25.63, 0.14, "error")),
        ("okddip-table2", ("cifar100", "wrn20_8_tv", "baseline"), (22.50, 0.44, "error")),
        ("okddip-table4", ("cifar100", "vgg16_mlp", "independent"), (25.62, None, "error")),
        ("okddip-table4", ("cifar100", "resnet32", "one"), (24.90, None, "error")),
        ("okddip-table4", ("cifar100", "resnet110_bottleneck", "okddip"), (19.54, None, "error")),
        ("okddip-table5", ("cifar100", "resnet32", "okddip@random"), (28.24, None, "error")),
        ("okddip-table5", ("cifar100", "resnet32", "okddip@entropy"), (26.71, None, "error")),
        ("okddip-table5", ("cifar100", "resnet32", "okddip@one-level"), (27.79, None, "error")),
        ("okddip-table6", ("cifar10", "resnet110_bottleneck", "baseline"), (5.27, 0.23, "error")),
        ("okddip-table6", ("cifar100", "resnet32", "kd"), (26.51, 0.14, "error")),
        ("okddip-table6", ("cifar10", "resnet32", "okddip@kd"), (5.36, None, "error")),
        ("okddip-figure3", ("cifar100", "resnet32", "okddip", 7), (25.37, None, "error")),
        ("okddip-figure3", ("cifar100", "resnet32", "one", 4), (26.50, 0.13, "error")),
        ("okddip-figure3", ("cifar100", "resnet32", "cl", 8), (26.85, None, "error")),
        ("one-table1", ("cifar100", "resnet32", "baseline"), (31.18, None, "error")),
        ("one-table1", ("cifar10", "resnet164_bottleneck", "one"), (5.17, 0.07, "error")),
        ("one-table1", ("svhn", "densenetbc_190_40", "one"), (1.63, 0.05, "error")),
        ("one-table5", ("cifar100", "resnet164_bottleneck", "one"), (21.62, None, "error")),
        ("one-table5", ("cifar100", "resnet164_bottleneck", "one@no-sharing-e"), (20.57, None, "error")),
        ("one-table5", ("cifar100", "resnet164_bottleneck", "one@no-gate"), (22.26, None, "error")),
        ("one-table6", ("cifar100", "resnet32", "baseline"), (31.18, None, "error")),
        ("one-table6", ("cifar100", "resnet32", "one", 2), (27.38, None, "error")),
        ("one-table6", ("cifar100", "resnet32", "one", 5), (26.52, None, "error")),
        ("dml-table2", ("cifar100", "resnet32", "dml@net2"), (70.75, None, "accuracy")),
        ("dml-table2", ("cifar100", "mobilenet", "dml@wrn28_10"), (77.39, None, "accuracy")),
        ("dml-table2", ("cifar100", "wrn28_10", "dml@mobilenet"), (80.28, None, "accuracy")),
    ],
)
def test_some_numbers_of_every_table(name: str, key: Key, printed: tuple[float, float | None, str]) -> None:
    number = cell(name, *key).reported
    assert number and (number.mean, number.std, number.metric) == printed


@cache
def built(config: str) -> Method:
    """The run's method on the smallest network, without weights."""
    run = RunConfig.model_validate_json(config)
    teacher = built(run.teacher.model_dump_json()) if run.teacher else None
    kind = methods.get(run.method)
    with torch.device("meta"):
        return kind(Build([networks.get("resnet8")], 10, 0, teacher), kind.Config(**run.settings))


@pytest.mark.parametrize("name", TABLES)
def test_every_run_can_be_built_and_has_the_heads_that_its_protocol_reads(name: str) -> None:
    for each in plan_of(name).cells:
        for run in each.runs[:1]:
            method = built(run.config.model_dump_json())
            heads = pd.DataFrame([[50.0] * len(method.heads())], columns=list(method.heads()))
            head = method.deployed if each.protocol.head == "deployed" else each.protocol.head
            assert evaluate(heads, head, each.protocol.epoch) == 50.0, each.key


@pytest.mark.parametrize("name", TABLES)
def test_every_value_of_the_layout_has_a_printed_name(name: str) -> None:
    recipe = plan_of(name).recipe
    places = [axis for axis in (recipe.table.rows, recipe.table.columns) if axis in ("dataset", "network", "method")]
    values = [value for axis in places for value in recipe.grid.axes[axis] if len(recipe.grid.axes[axis]) > 1]
    assert [value for value in values if value not in recipe.table.names] == []


def test_the_tables_train_as_their_papers_say() -> None:
    def training(name: str) -> tuple[object, ...]:
        run = plan_of(name).runs[0].config
        schedule, optimizer = run.training.schedule.model_dump(), run.training.optimizer
        return (
            run.training.epochs,
            run.training.batch_size,
            schedule["milestones"],
            optimizer.weight_decay,
            optimizer.nesterov,
            run.data.normalisation,
        )

    assert training("dkel-table2") == (100, 128, (30, 60), 5e-4, True, "dkel")
    assert training("pcl-table1") == (300, 128, (150, 225), 5e-4, True, "dkel")
    assert training("okddip-table2") == (300, 128, (150, 225), 5e-4, True, "okddip")
    assert training("one-table1") == (300, 128, (151, 225), 1e-4, False, "one")
    assert training("dml-table2") == (200, 64, (60, 120, 180), 5e-4, True, "ffsd")


def test_the_rows_of_an_ablation_differ_as_their_names_say() -> None:
    row = ("cifar100", "resnet32")
    own_start = {"teacher_init": "random", "init_steps": 0, "ema_warmup": True}
    assert settings("dkel-table3", *row, "dkel") == {}
    assert settings("dkel-table3", *row, "dkel@dk") == {"ensemble": "off"}
    assert settings("dkel-table3", *row, "dkel@de") == own_start
    assert settings("dkel-table3", *row, "dkel@pcl") == {**own_start, "ensemble": "off"}
    assert settings("okddip-table2", *row, "okddip@networks")["sharing"] == "networks"
    assert settings("okddip-figure3", *row, "one", 7)["peers"] == 7
    assert settings("dkel-figure2", "cifar10", "vgg16_mlp", "pcl@shared-branch") == {"shared_branch": True}


def test_labels_that_are_heads_of_one_training_share_its_runs() -> None:
    assert len(plan_of("one-table5").runs) == 3 * 3
    assert len(plan_of("dml-table2").runs) == 2 * 3
    fair = plan_of("fair-cifar100")
    assert len(fair.runs) == 15 * 2 * 5
    kd = cell("fair-cifar100", "cifar100", "resnet32", "kd")
    baseline = cell("fair-cifar100", "cifar100", "resnet32", "baseline")
    assert [run.config.teacher for run in kd.runs] == [run.config for run in baseline.runs]


def test_on_equal_terms_all_runs_train_alike() -> None:
    runs = plan_of("fair-cifar100").runs
    assert len({(run.config.training.model_dump_json(), run.config.data.model_dump_json()) for run in runs}) == 1
    assert {each.protocol.epoch for each in plan_of("fair-cifar100").cells} == {"last"}
    views = {each.method: built(each.runs[0].config.model_dump_json()).views for each in plan_of("fair-cifar100").cells}
    assert all(views[label] == (3 if "3views" in label else 1) for label in views)
    assert {"baseline", "independent", "kd", "dml", "cl", "one", "okddip", "kdcl", "pcl", "dkel"} <= {
        run.config.method for run in runs
    }

"""The published tables that come as recipes: their numbers, what they train, what they read off a run."""

import json
from functools import cache

import numpy as np
import pytest
from golden.checker import load as golden
from methods.build import RESNET8

from okdbench import methods
from okdbench.config import DataSettings, RunConfig
from okdbench.methods import Build, Method, configure
from okdbench.methods.parts.contrastive import ContrastiveConfig
from okdbench.networks.counting import weightless
from okdbench.plan import Cell, Plan, expand
from okdbench.recipe import available, load
from okdbench.recipe.simulation import SimulationRecipe
from okdbench.results.protocol import Accuracy, evaluate

Key = tuple[str | int | float, ...]


@cache
def plan_of(name: str) -> Plan:
    plan = expand(load(name))
    assert isinstance(plan, Plan)
    return plan


TABLES = [name for name in available() if not isinstance(load(name), SimulationRecipe)]


def cell(name: str, *key: str | int | float) -> Cell:
    """The cell with this data set, network and label (LABEL@READING), and these values of its extra axes."""
    (found,) = (c for c in plan_of(name).cells if place(c) == key)
    return found


def place(cell: Cell) -> tuple[str | int | float, ...]:
    label = cell.value("method", separate_readings=False)
    return (cell.dataset, cell.network, label, *(value for _, value in cell.settings))


def settings(name: str, *key: str | int | float) -> dict[str, object]:
    """The settings of the cell's runs."""
    return cell(name, *key).runs[0].config.settings


@pytest.mark.parametrize("name", TABLES)
def test_every_printed_number_is_in_the_plan_with_its_source(name: str) -> None:
    recipe = plan_of(name).recipe
    shown = [c.reported for c in plan_of(name).cells if c.reported]
    assert len(shown) == len(recipe.reported.cells if recipe.reported else ())
    assert all(number.trust in ("high", "low") and number.provenance for number in shown)
    assert bool(recipe.source) or not shown, "printed numbers have a source"


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
        ("one-table1", ("svhn-extra", "densenet190_40_bc", "one"), (1.63, 0.05, "error")),
        ("one-table5", ("cifar100", "resnet164_bottleneck", "one"), (21.62, None, "error")),
        ("one-table5", ("cifar100", "resnet164_bottleneck", "one@no-sharing@ensemble"), (20.57, None, "error")),
        ("one-table5", ("cifar100", "resnet164_bottleneck", "one@no-gate"), (22.26, None, "error")),
        ("one-table6", ("cifar100", "resnet32", "baseline"), (31.18, None, "error")),
        ("one-table6", ("cifar100", "resnet32", "one", 2), (27.38, None, "error")),
        ("one-table6", ("cifar100", "resnet32", "one", 5), (26.52, None, "error")),
        ("dml-table2", ("cifar100", "resnet32", "dml@net2"), (70.75, None, "accuracy")),
        ("dml-table2", ("cifar100", "mobilenet", "dml@wrn28_10"), (77.39, None, "accuracy")),
        ("dml-table2", ("cifar100", "wrn28_10", "dml@mobilenet"), (80.28, None, "accuracy")),
        ("ffsd-cifar100", ("cifar100", "densenet40_12_plain", "ffsd"), (77.39, 0.28, "accuracy")),
        ("ffsd-imagenet", ("imagenet", "imagenet_resnet34", "ffsd"), (74.69, None, "accuracy")),
        ("ffl-cifar", ("cifar100", "resnet32", "ffl"), (74.44, None, "accuracy")),
        ("dccl-cifar100", ("cifar100", "vgg16_unspecified", "dccl"), (77.26, None, "accuracy")),
        ("dccl-tiny-imagenet", ("tiny-imagenet", "resnet34_unspecified", "dccl"), (69.92, None, "accuracy")),
        ("mcl-cifar100", ("cifar100", "shufflenetv2_1", "mcl@x4-logit"), (77.02, 0.32, "accuracy")),
        ("mcl-cifar100", ("cifar100", "hcgnet_a1", "mcl"), (78.62, 0.26, "accuracy")),
        ("mcl-imagenet", ("imagenet", "imagenet_resnet34", "mcl@x4"), (74.34, None, "accuracy")),
        ("mcl-imagenet", ("imagenet", "imagenet_resnet18", "moco"), (47.45, 0.11, "accuracy")),
        ("mcl-imagenet", ("imagenet", "imagenet_resnet18", "mcl@moco"), (48.04, 0.13, "accuracy")),
        ("l-mcl-cifar100-homogeneous", ("cifar100", "wrn40_2", "l-mcl"), (80.96, None, "accuracy")),
        ("l-mcl-cifar100-heterogeneous", ("cifar100", "wrn40_2+wrn28_4", "l-mcl"), (80.42, None, "accuracy")),
        ("l-mcl-cifar100-heterogeneous", ("cifar100", "wrn40_2+wrn28_4", "l-mcl@net2"), (82.61, None, "accuracy")),
        (
            "l-mcl-imagenet",
            ("imagenet", "imagenet_shufflenetv2_1+imagenet_resnet50", "l-mcl@net2"),
            (76.57, None, "accuracy"),
        ),
    ],
)
def test_some_numbers_of_every_table(name: str, key: Key, printed: tuple[float, float | None, str]) -> None:
    number = cell(name, *key).reported
    assert number and (number.mean, number.std, number.metric) == printed


SMALL = RESNET8


def built(run: RunConfig) -> Method:
    """The run's method on the smallest network, without weights."""
    teacher = run.teacher.method if run.teacher else None
    return _built(run.method, json.dumps(run.settings), len(run.network.split("+")), teacher)


@cache
def _built(method: str, settings: str, networks: int, taught_by: str | None = None) -> Method:
    kind = methods.get(method)
    teacher = _built(taught_by, "{}", 1) if taught_by else None
    with weightless():
        return kind(Build([SMALL] * networks, 10, 0, teacher), kind.Config(**json.loads(settings)))


@pytest.mark.parametrize("name", TABLES)
def test_every_run_can_be_built_and_has_the_heads_that_its_protocol_reads(name: str) -> None:
    for each in plan_of(name).cells:
        for run in each.runs[:1]:
            method = built(run.config.source)
            names = [*method.heads(), *(f"{head}@ema" for head in method.heads() if run.config.training.ema)]
            head = each.protocol.head.resolve_deployed(method.deployed)
            assert evaluate(Accuracy(tuple(names), np.full((1, len(names)), 50.0)), head, each.protocol.epoch) == 50.0


@pytest.mark.parametrize("name", TABLES)
def test_every_value_of_the_layout_has_a_printed_name(name: str) -> None:
    recipe = plan_of(name).recipe
    places = [axis for axis in (recipe.table.rows, recipe.table.columns) if axis in ("dataset", "network", "method")]
    values = [value for axis in places for value in recipe.grid.axes[axis] if len(recipe.grid.axes[axis]) > 1]
    assert [value for value in values if not recipe.table.printed(value)] == []
    assert [part for value in values for part in value.split("+") if not recipe.table.printed(part)] == []


def test_the_tables_train_as_their_papers_say() -> None:
    def training(name: str, run: RunConfig | None = None) -> tuple[object, ...]:
        run = run or plan_of(name).runs[0].config
        schedule, optimizer = run.training.schedule.model_dump(), run.training.optimizer
        return (
            run.training.epochs,
            run.training.batch_size,
            schedule.get("milestones", "cosine"),
            optimizer.weight_decay,
            optimizer.nesterov,
            run.data.normalisation,
        )

    assert training("dkel-table2") == (100, 128, (30, 60), 5e-4, True, "dkel")
    assert training("pcl-table1") == (300, 128, (150, 225), 5e-4, True, "dkel")
    assert training("okddip-table2") == (300, 128, (150, 225), 5e-4, True, "okddip")
    assert training("one-table1") == (300, 128, (151, 225), 1e-4, False, "one")
    svhn = cell("one-table1", "svhn-extra", "resnet32", "one").runs[0].config
    assert training("one-table1", svhn) == (40, 128, (20, 30), 1e-4, False, "plain")
    assert "ramp_epochs" not in svhn.settings  # the paper's default, none
    assert training("dml-table2") == (200, 64, (60, 120, 180), 5e-4, True, "ffsd")
    assert training("ffsd-cifar100") == (299, 128, (150, 225), 1e-4, True, "ffsd")
    assert training("ffsd-imagenet") == (89, 256, (29, 59, 79), 1e-4, True, "imagenet")
    assert training("ffl-cifar") == (301, 128, (150, 225), 1e-4, True, "ffl")
    assert training("dccl-cifar100") == (301, 128, (150, 225), 2e-4, True, "ffl")
    for network, milestones in (("wrn16_2_dccl", (50, 150, 225, 300)), ("vgg16_unspecified", (150, 225))):
        run = cell("dccl-cifar100", "cifar100", network, "dccl").runs[0].config
        assert training("dccl-cifar100", run) == (401, 128, milestones, 2e-4, True, "ffl")
    assert training("dccl-tiny-imagenet") == (300, 128, (150, 225), 2e-4, True, "imagenet")
    assert training("layer-fusion-cifar") == (300, 128, (150, 225), 1e-4, True, "ffl")
    assert training("mcl-cifar100") == (300, 128, "cosine", 5e-4, True, "mcl")
    assert training("mcl-imagenet") == (90, 256, (30, 60), 1e-4, True, "imagenet")
    for name in ("l-mcl-cifar100-homogeneous", "l-mcl-cifar100-heterogeneous"):
        assert training(name) == (300, 128, "cosine", 5e-4, True, "mcl")
    row = "imagenet_shufflenetv2_1"
    for label, nesterov in (("l-mcl", True), ("l-mcl@exits", True), ("baseline", False)):
        run = cell("l-mcl-imagenet", "imagenet", row, label).runs[0].config
        assert training("l-mcl-imagenet", run) == (100, 256, (30, 60, 90), 1e-4, nesterov, "imagenet")


def test_mcl_and_l_mcl_on_imagenet_are_the_printed_experiments() -> None:
    """Settings of the authors' ImageNet code, as specified."""
    row = ("imagenet", "imagenet_resnet18")
    banks = {"bank": True, "images_per_class": 0, "tau": 0.07}
    assert settings("mcl-imagenet", *row, "mcl") == banks
    assert settings("mcl-imagenet", *row, "mcl@x4") == {**banks, "peers": 4, "structure": "branched"}
    assert settings("mcl-imagenet", *row, "mcl@x4-logit") == {
        **banks,
        "peers": 4,
        "structure": "branched",
        "logit_kd": "last",
        "kd_target_detach": False,
    }
    assert all(each.reported and each.reported.n == 3 for each in plan_of("mcl-imagenet").cells if each.reported)
    assert {each.protocol.epoch for each in plan_of("mcl-imagenet").cells if not each.left_out} == {"last"}
    assert len(cell("mcl-imagenet", *row, "mcl").runs) == 3
    mcl = configure("mcl", settings("mcl-imagenet", *row, "mcl"))
    assert isinstance(mcl, ContrastiveConfig)
    assert (mcl.negatives, mcl.bank_momentum, mcl.alpha, mcl.beta, mcl.gamma, mcl.lam) == (8192, 0.5, 0.1, 0.1, 1, 1)
    assert settings("l-mcl-imagenet", *row, "l-mcl") == {
        **banks,
        "alpha": 0.01,
        "beta": 0.01,
        "exits": "light",
        "meta_every": 500,
        "meta_weight_decay": 1e-4,
        "adjoint": "released",
        "vcl_bank": "released",
    }
    control = cell("l-mcl-imagenet", *row, "l-mcl@exits").runs[0].config
    assert (control.settings["exits"], control.settings["images_per_class"]) == ("light", 0)
    pairs = [each for each in plan_of("l-mcl-cifar100-heterogeneous").cells if "shufflenet" in each.network]
    assert {each.trained_network for each in pairs} >= {"shufflenetv2_1+wrn40_2", "shufflenetv2_1"}
    number = cell("l-mcl-cifar100-heterogeneous", "cifar100", "wrn28_4", "baseline").reported
    assert number and number.mean == 79.17


def test_the_rows_of_an_ablation_differ_as_their_names_say() -> None:
    row = ("cifar100", "resnet32")
    own_start = {"teacher_init": "random", "init_steps": 0, "ema_warmup": True}
    assert settings("dkel-table3", *row, "dkel") == {}
    assert settings("dkel-table3", *row, "dkel@dk") == {"ensemble": "off"}
    assert settings("dkel-table3", *row, "dkel@de") == own_start
    assert settings("dkel-table3", *row, "dkel@copy") == {"ensemble": "off", "init_steps": 0}
    assert settings("dkel-table3", *row, "dkel@pcl") == {**own_start, "ensemble": "off"}
    assert settings("okddip-table2", *row, "okddip@networks")["sharing"] == "networks"
    assert settings("okddip-figure3", *row, "one", 7)["peers"] == 7
    assert settings("dkel-figure2", "cifar10", "vgg16_mlp", "pcl@shared-branch") == {"shared_branch": True}
    exits = {"alpha": 0.0, "beta": 0.0, "gamma": 0.0, "lam": 0.0, "kd": False, "aggregator_ce": False}
    for name, network in (
        ("l-mcl-cifar100-homogeneous", "wrn16_2"),
        ("l-mcl-cifar100-heterogeneous", "wrn16_2+wrn40_2"),
    ):
        assert settings(name, "cifar100", network, "l-mcl@exits") == exits
        assert settings(name, "cifar100", network, "l-mcl") == {"adjoint": "released"}
    assert settings("l-mcl-imagenet", "imagenet", "imagenet_resnet34", "l-mcl@exits").items() >= exits.items()
    assert settings("mcl-cifar100", *row, "mcl@x4-logit") == {"peers": 4, "structure": "branched", "logit_kd": "last"}
    assert (
        settings("one-table5", "cifar100", "resnet164_bottleneck", "one@no-sharing@ensemble")["sharing"] == "networks"
    )
    assert settings("pcl-table2", "cifar100", "resnet110_bottleneck", "pcl@mean-model") == {"taught_by": "own"}
    assert settings("pcl-table3", "cifar10", "resnet110_bottleneck", "ffl")["peers"] == 3


def test_the_weights_of_the_released_commands_of_okdph() -> None:
    names = {
        "resnet32": "resnet32",
        "vgg16": "vgg16_mlp",
        "densenet-40-12": "densenet40_12_bc",
        "wrn_20_8": "wrn20_8_tv",
        "resnet110": "resnet110_bottleneck",
    }
    commands = golden("okdph_schedule.json", "okdph")["hyper_parameters"]
    for dataset, networks in commands.items():
        assert set(networks) == set(names)
        for network, (*weights, interval) in networks.items():
            for label in ("okdph@released", "okdph@paper"):
                config = configure(label, settings("okdph-cifar", dataset, names[network], label))
                assert [config.omega, config.beta, config.gamma] == weights
                assert f"{config.fuse_every}_{config.fuse_by}" == interval


def test_labels_that_are_heads_of_one_training_share_its_runs() -> None:
    assert len(plan_of("one-table5").runs) == 4 * 3
    assert len(plan_of("dml-table2").runs) == 10 * 3
    assert len(plan_of("l-mcl-cifar100-heterogeneous").runs) == (8 * 2 + 7) * 3
    fair = plan_of("fair-cifar100")
    assert len(fair.runs) == 31 * 2 * 5
    kd = cell("fair-cifar100", "cifar100", "resnet32", "kd")
    baseline = cell("fair-cifar100", "cifar100", "resnet32", "baseline")
    assert [run.config.teacher for run in kd.runs] == [run.config for run in baseline.runs]


def test_on_equal_terms_all_runs_train_alike() -> None:
    runs = plan_of("fair-cifar100").runs
    assert len({run.config.training.model_dump_json() for run in runs}) == 1
    for each in fair_cells():
        policies = ("rotation", "cutout", "randaugment") if "@policies" in each.method else ()
        assert {run.config.data for run in each.runs} == {DataSettings(normalisation="dkel", policies=policies)}
    assert {each.protocol.epoch for each in plan_of("fair-cifar100").cells} == {"last"}
    views = {each.method: built(each.runs[0].config).views for each in plan_of("fair-cifar100").cells}
    assert all(views[label] == (3 if "3views" in label or "@policies" in label else 1) for label in views)
    assert {run.config.method for run in runs} == set(methods.available())
    batches = {each.method: built(each.runs[0].config).images_per_class for each in fair_cells()}
    assert all(batches[label] == (2 if "class-aware" in label else 0) for label in batches)


def fair_cells() -> tuple[Cell, ...]:
    return plan_of("fair-cifar100").cells


def test_on_equal_terms_every_row_has_its_moving_average() -> None:
    cells = {(each.method, each.reading): each for each in fair_cells() if each.network == "resnet32"}
    for label, reading in cells:
        plain, average = cells[label, "default"], cells[label, "ema"]
        assert cells[label, reading].runs == plain.runs, "one training"
        assert average.protocol.head == f"{plain.protocol.head}@ema"


def test_what_is_trained_is_told_apart_from_what_is_printed() -> None:
    def trained(name: str) -> dict[tuple[str, str], str]:
        return {(c.network, c.method): c.trained_network for c in plan_of(name).cells if c.trained_network != c.network}

    branched = ("independent", "cl", "one", "okddip")
    vgg, dense = "vgg16_mlp_dropout", "densenet40_12_bc_shared"
    assert trained("okddip-table2") == {
        **{("vgg16_mlp", method): vgg for method in branched},
        **{("densenet40_12_bc", method): dense for method in branched},
    }
    assert trained("okddip-table4") == {("vgg16_mlp", method): vgg for method in branched}
    reused = {("densenet40_12_bc", method): dense for method in ("cl", "one", "okddip")}
    assert trained("pcl-table1") == reused
    no_norm = {("densenet40_12_bc", label): "densenet40_12_bc_nofinalbn" for label in ("pcl", "dkel@as-pcl")}
    assert trained("dkel-table1") == {**reused, **no_norm}
    assert trained("dccl-cifar100")["wrn20_8_unspecified", "dccl"] == "wrn22_8_bias"
    assert trained("dccl-tiny-imagenet") == {
        (f"resnet{depth}_unspecified", method): f"tiny_resnet{depth}"
        for depth in (18, 34)
        for method in ("baseline", "dml", "ffl", "dccl")
    }
    for name in TABLES:
        unspecified = [c for c in plan_of(name).cells if "_unspecified" in c.trained_network]
        assert not any(c.runs for c in unspecified), name


def test_pairs_are_read_at_the_network_that_they_print() -> None:
    def read(network: str, label: str) -> tuple[str, str]:
        found = cell("dml-table2", "cifar100", network, label)
        return found.trained_network, found.protocol.head

    assert read("wrn28_10", "dml@resnet32") == ("wrn28_10+resnet32", "peer0")
    assert read("resnet32", "dml@wrn28_10") == ("wrn28_10+resnet32", "peer1")
    assert read("resnet32", "dml@mobilenet") == ("resnet32+mobilenet", "peer0")
    assert read("mobilenet", "dml@resnet32") == ("mobilenet+resnet32", "peer0")
    assert read("wrn28_10", "dml@mobilenet") == ("wrn28_10+mobilenet", "peer0")
    assert read("mobilenet", "dml@wrn28_10") == ("wrn28_10+mobilenet", "peer1")
    for each in plan_of("dml-table2").cells:
        if "+" in each.trained_network:
            index = int(each.protocol.head.removeprefix("peer"))
            assert each.trained_network.split("+")[index] == each.network

"""The cost estimate: parameters and relative step cost as the specification derives them."""

import pytest

from okdbench.plan import Plan, Selection, expand
from okdbench.plan.cost import estimate
from okdbench.recipe import load


def test_dkel_costs_four_single_steps() -> None:
    plan = expand(load("dkel-table1"), Selection(datasets=("cifar100",), networks=("resnet32",)))
    costs = {cost.cell.method: cost for cost in estimate(plan)}
    assert costs["baseline"].step == 1.0
    assert costs["baseline"].macs == pytest.approx(69.1e6, rel=1e-3)
    assert costs["baseline"].parameters == 472_756
    assert costs["dml"].step == 3.0
    assert costs["dkel"].step == pytest.approx(4.0, rel=1e-3)  # the ensemble classifier adds a little
    assert costs["dkel"].parameters == 1_212_384
    forward, images = 69.1e6, 50_000 * 3 + 10_000
    assert costs["baseline"].petaflop == pytest.approx(2 * forward * images * 300 * 3 / 1e15, rel=2e-3)


def small(write, networks: str, methods: str, extra: str = "") -> Plan:
    grid = f"grid: {{dataset: cifar100, network: [{networks}], method: [{methods}]}}"
    return expand(load(write(extra, grid=grid, seeds="seeds: [0]", table="table: {columns: method}")))


def test_a_meta_step_is_shared_out_among_the_steps(write) -> None:
    """Of 390 steps of 128 images 8 have a meta step, which costs 13 other steps (measured on the authors' code)."""
    never = "variants: {l-mcl@never: {meta_every: 0}}\noverrides: [{set: {training.batch_size: 128}}]"
    plain, average = (cost.step for cost in estimate(small(write, "resnet8", "l-mcl@never, l-mcl", never)))
    assert average / plain == pytest.approx(1 + 8 / 390 * 13.0, rel=0.01)


def test_class_aware_epochs_leave_out_what_fills_no_batch(write) -> None:
    shuffled = "variants: {mcl@shuffle: {images_per_class: 0}}\noverrides: [{set: {data.test_subset: 100}}]"
    aware, all_images = estimate(small(write, "resnet8", "mcl, mcl@shuffle", shuffled + "\ndata: {subset: 1000}"))
    assert aware.step == all_images.step
    tested = 2 * 100 * 2 * aware.macs * 4 / 1e15  # two networks, four epochs
    trained = aware.petaflop - tested, all_images.petaflop - tested
    assert trained[0] / trained[1] == pytest.approx(15 * 64 / 1000, rel=1e-3)


def test_of_a_pair_the_plain_network_is_the_mean(write) -> None:
    first, second, pair = estimate(small(write, "resnet8, resnet32, resnet8+resnet32", "dml"))
    assert pair.macs == pytest.approx((first.macs + second.macs) / 2, abs=1)
    assert pair.step == pytest.approx(first.step) == pytest.approx(second.step)
    assert 2 * pair.parameters == first.parameters + second.parameters


def test_a_moving_average_is_evaluated_too(write) -> None:
    tested = "data: {subset: 500}"
    without, averaged = (
        estimate(small(write, "resnet8", "baseline", f"{tested}{ema}"))[0]
        for ema in ("", "\noverrides: [{set: {training.ema: {decay: 0.9}}}]")
    )
    evaluation = 2 * 10_000 * without.macs * 4 / 1e15
    assert averaged.petaflop - without.petaflop == pytest.approx(evaluation)
    assert averaged.parameters == without.parameters


def test_readings_of_one_training_cost_it_once() -> None:
    plan = expand(load("fair-cifar100"), Selection(networks=("resnet8",), methods=("baseline", "dkel"), seeds=(0,)))
    assert len(plan.cells) == 5
    assert [(cost.cell.method, cost.cell.reading) for cost in estimate(plan)] == [
        ("baseline", "default"),
        ("dkel", "default"),
    ]

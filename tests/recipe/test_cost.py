"""The cost estimate: parameters and relative step cost as the specification derives them."""

import pytest

from okdbench.recipe import Selection, expand, load
from okdbench.recipe.cost import estimate


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

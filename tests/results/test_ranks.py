"""Average ranks, Friedman's test and the critical difference."""

from pathlib import Path

import fabricate
import pytest
from scipy import stats

from okdbench.results.cells import CellResult, evaluate_cells
from okdbench.results.ranks import rank_methods

METHODS = ["baseline", "dml", "dkel"]


def measured(
    folder: Path, numbers: dict[tuple[str, str], tuple[float, ...]], networks: list[str]
) -> tuple[CellResult, ...]:
    """The cells of a table with one number for each seed, by network and method."""
    plan = fabricate.plan(folder, grid={"dataset": ["cifar100"], "network": networks, "method": METHODS})
    for cell in plan.cells:
        for run, top1 in zip(cell.runs, numbers.get((cell.network, str(cell.method)), ()), strict=False):
            fabricate.run(folder, run.config, {"student": [top1, top1]})
    return evaluate_cells(plan, folder)


def test_seeds_are_the_blocks_of_a_table_with_one_network(tmp_path: Path) -> None:
    numbers = {("resnet8", "baseline"): (1, 1, 1), ("resnet8", "dml"): (2, 2, 3), ("resnet8", "dkel"): (3, 2, 2)}
    found = rank_methods(measured(tmp_path, numbers, ["resnet8"]))
    assert found is not None
    assert [str(cell.method) for cell in found.cells] == ["dml", "dkel", "baseline"]
    assert found.ranks == pytest.approx((4.5 / 3, 4.5 / 3, 3))
    assert (found.unit, found.blocks) == ("seeds", 3)
    assert found.p_value == pytest.approx(stats.friedmanchisquare((1, 1, 1), (2, 2, 3), (3, 2, 2)).pvalue)
    assert found.critical_difference == pytest.approx(
        2.343 * (3 * 4 / (6 * 3)) ** 0.5, abs=0.002
    )  # Demsar 2006, table 5
    assert found.groups == ((0, 2),)


def test_means_over_seeds_are_the_numbers_of_several_networks(tmp_path: Path) -> None:
    numbers = {
        (network, method): (10.0 * i + j, 10.0 * i + j + 1)
        for i, network in enumerate(("resnet8", "resnet32", "resnet56"))
        for j, method in enumerate(METHODS)
        if (network, method) != ("resnet56", "dkel")
    }
    found = rank_methods(measured(tmp_path, numbers, ["resnet8", "resnet32", "resnet56"]))
    assert found is not None and found.unit == "data sets and networks"
    assert found.blocks == 2  # the network that lacks a method is left out
    assert [str(cell.method) for cell in found.cells] == ["dkel", "dml", "baseline"]
    assert found.ranks == (1, 2, 3)


def test_two_methods_or_one_block_have_no_ranks(tmp_path: Path) -> None:
    assert rank_methods(measured(tmp_path, {("resnet8", name): (1.0,) for name in METHODS}, ["resnet8"])) is None
    pair = {("resnet8", name): (1.0, 2.0) for name in METHODS[:2]}
    (tmp_path / "pair").mkdir()
    assert rank_methods(measured(tmp_path / "pair", pair, ["resnet8"])) is None
    assert rank_methods(()) is None

"""Average ranks, Friedman's test and the critical difference."""

from pathlib import Path

import fabricate
import pytest
from scipy import stats

from okdbench.recipe.axes import DEFAULT_READING
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
    [found] = rank_methods(measured(tmp_path, numbers, ["resnet8"]))
    assert found.reading == DEFAULT_READING
    assert [str(cell.method) for cell, _ in found.methods] == ["dml", "dkel", "baseline"]
    assert [rank for _, rank in found.methods] == pytest.approx([4.5 / 3, 4.5 / 3, 3])
    assert (found.unit, found.blocks) == ("seeds", 3)
    assert found.p_value == pytest.approx(stats.friedmanchisquare((1, 1, 1), (2, 2, 3), (3, 2, 2)).pvalue)
    assert found.critical_difference == pytest.approx(
        2.343 * (3 * 4 / (6 * 3)) ** 0.5, abs=0.002
    )  # Demsar 2006, table 5


def test_means_over_seeds_are_the_numbers_of_several_networks(tmp_path: Path) -> None:
    numbers = {
        (network, method): (10.0 * i + j, 10.0 * i + j + 1, 10.0 * i + j)
        for i, network in enumerate(("resnet8", "resnet32", "resnet56"))
        for j, method in enumerate(METHODS)
        if (network, method) != ("resnet56", "dkel")
    }
    [found] = rank_methods(measured(tmp_path, numbers, ["resnet8", "resnet32", "resnet56"]))
    assert found.unit == "data sets and networks"
    assert found.blocks == 2  # the network that lacks a method is left out
    assert [(str(cell.method), rank) for cell, rank in found.methods] == [("dkel", 1), ("dml", 2), ("baseline", 3)]


def test_a_mean_over_some_of_the_seeds_has_no_rank(tmp_path: Path) -> None:
    """The last seed is everyone's best: a method with that seed alone would come first."""
    methods = [*METHODS, "one"]
    plan = fabricate.plan(
        tmp_path, grid={"dataset": ["cifar100"], "network": ["resnet8", "resnet32"], "method": methods}
    )
    for cell in plan.cells:
        for run in cell.runs:
            top1 = 70.0 + run.config.seed + methods.index(cell.method) / 10
            if cell.method != "dkel" or run.config.seed == 2:
                fabricate.run(tmp_path, run.config, {"student": [top1, top1]})
    [found] = rank_methods(evaluate_cells(plan, tmp_path))
    assert [str(cell.method) for cell, _ in found.methods] == ["one", "dml", "baseline"]


def test_two_methods_or_one_block_have_no_ranks(tmp_path: Path) -> None:
    assert rank_methods(measured(tmp_path, {("resnet8", name): (1.0,) for name in METHODS}, ["resnet8"])) == ()
    pair = {("resnet8", name): (1.0, 2.0) for name in METHODS[:2]}
    (tmp_path / "pair").mkdir()
    assert rank_methods(measured(tmp_path / "pair", pair, ["resnet8"])) == ()
    assert rank_methods(()) == ()


def test_each_reading_of_the_trainings_is_ranked_on_its_own(tmp_path: Path) -> None:
    plan = fabricate.plan(
        tmp_path,
        grid={"dataset": ["cifar100"], "network": ["resnet8"], "method": METHODS},
        readings={"last": {"epoch": "last"}, "second": {"method": ["dml", "dkel"], "head": "peer1"}},
    )
    for run in plan.runs:
        number = METHODS.index(str(run.config.method))
        fabricate.run(tmp_path, run.config, {"student": [90.0 - number, 10.0 + number], "peer1": [number, number]})
    found = rank_methods(evaluate_cells(plan, tmp_path))
    orders = {ranks.reading: [str(cell.method) for cell, _ in ranks.methods] for ranks in found}
    assert orders == {DEFAULT_READING: METHODS, "last": METHODS[::-1]}, "two of three methods alone are not ranked"
    three = 2.343 * (3 * 4 / (6 * found[0].blocks)) ** 0.5
    assert [ranks.critical_difference for ranks in found] == pytest.approx([three, three], abs=0.002)

"""The largest fair part of a grid within some hours: all methods, the same seeds, cheap networks first."""

from pathlib import Path

import fabricate
import pytest

from okdbench.errors import UsageError
from okdbench.plan import Plan
from okdbench.plan.budget import Part, largest_part
from okdbench.plan.forecast import clocks, due
from okdbench.plan.jobs import plan_jobs


def part(tmp_path: Path, hours: float, **changes: object) -> tuple[Plan, Part]:
    plan = fabricate.plan(tmp_path, **changes)
    [clock] = clocks(tmp_path / "nothing")
    return plan, largest_part(plan, plan_jobs(plan, tmp_path / "results"), hours, clock)


def spent(tmp_path: Path, network: str, seeds: int) -> float:
    plan = fabricate.plan(tmp_path)
    [clock] = clocks(tmp_path / "nothing")
    left = due(plan_jobs(plan, tmp_path / "results"))
    mine = [each for each in left if each.cost.config.network == network and each.cost.config.seed < seeds]
    return sum(each.hours(clock).hours for each in mine)


def test_everything_fits_in_many_hours(tmp_path: Path) -> None:
    plan, found = part(tmp_path, 1000.0)
    assert (found.networks, found.seeds, found.runs) == (("resnet8", "resnet32"), (0, 1, 2), len(plan.runs))


def test_the_cheaper_network_with_all_seeds(tmp_path: Path) -> None:
    _, found = part(tmp_path, 1.01 * spent(tmp_path, "resnet8", 3))
    assert (found.networks, found.seeds, found.runs) == (("resnet8",), (0, 1, 2), 6)
    assert found.hours == pytest.approx(spent(tmp_path, "resnet8", 3))


def test_several_seeds_of_one_network_come_before_one_of_several(tmp_path: Path) -> None:
    both = spent(tmp_path, "resnet8", 1) + spent(tmp_path, "resnet32", 1)
    two = spent(tmp_path, "resnet8", 2)
    _, found = part(tmp_path, 1.01 * max(both, two))
    assert len(found.seeds) >= 2 and found.networks == ("resnet8",)


def test_finished_runs_cost_nothing(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path)
    for run in plan.runs:
        if run.config.network == "resnet32":
            fabricate.run(tmp_path / "results", run.config, {"student": [1.0, 2.0]})
    _, found = part(tmp_path, 0.0)
    assert (found.networks, found.runs, found.hours) == (("resnet32",), 6, 0.0)


def test_where_nothing_fits_it_is_the_least(tmp_path: Path) -> None:
    _, found = part(tmp_path, 0.0)
    assert (found.networks, found.seeds) == (("resnet8",), (0,)) and found.hours > 0


def test_a_network_on_which_a_method_cannot_run_is_not_fair(tmp_path: Path) -> None:
    grid = {"dataset": ["cifar100"], "network": ["resnet8", "resnet9999"], "method": ["baseline", "dkel"]}
    _, found = part(tmp_path, 1000.0, grid=grid)
    assert found.networks == ("resnet8",)
    with pytest.raises(UsageError, match="no network on which all methods can run"):
        part(tmp_path, 1000.0, grid={**grid, "method": ["baseline", "telepathy"]})

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fabricate
import pytest

from okdbench.errors import UsageError
from okdbench.plan import Selection
from okdbench.results.cells import CellResult, evaluate_cells, evaluate_heads

GRID = {"dataset": ["cifar100"], "network": ["resnet8"], "method": ["baseline"]}
WHERE = {"dataset": "cifar100", "network": "resnet8", "method": "baseline"}


def one_cell(
    folder: Path,
    accuracies: Sequence[float],
    reported: dict[str, Any] | None,
    selection: Selection | None = None,
    **changes: Any,
) -> CellResult:
    """The cell of a recipe with three seeds of which the first finished with these accuracies."""
    numbers = {"reported": {"metric": "accuracy", "cells": [{**WHERE, **reported}]}} if reported else {}
    plan = fabricate.plan(folder, selection, **{"grid": GRID, "table": {}, **numbers, **changes})
    for run, value in zip(plan.runs, accuracies, strict=False):
        fabricate.run(folder, run.config, {"student": [50.0, value]})
    (result,) = evaluate_cells(plan, folder)
    return result


@pytest.mark.parametrize(
    ("accuracies", "reported", "verdict"),
    [
        ((71.0, 72.0, 73.0), {"mean": 72.3}, "reproduced"),
        ((71.0, 72.0, 73.0), {"mean": 71.7}, "reproduced"),
        ((71.0, 72.0, 73.0), {"mean": 72.31}, "inconclusive"),
        ((71.0, 72.0, 73.0), {"mean": 71.69}, "inconclusive"),
        ((71.9, 72.0, 72.1), {"mean": 71.7}, "higher"),  # within the margin, but significant
        ((71.9, 72.0, 72.1), {"mean": 71.7, "std": 0.3, "n": 3}, "reproduced"),
        ((71.9, 72.0, 72.1), {"mean": 72.9}, "lower"),
        ((71.9, 72.0, 72.1), {"mean": 72.9, "std": 0.1, "n": 3}, "lower"),
        ((72.0, 72.0, 72.0), {"mean": 72.0, "std": 0.0, "n": 3}, "reproduced"),
        ((72.0, 72.1), {"mean": 72.0}, "incomplete"),
        ((), {"mean": 72.0}, "incomplete"),
        ((71.0, 72.0, 73.0), None, "no reported number"),
        ((71.0, 72.0), None, "incomplete"),
    ],
)
def test_verdicts(tmp_path: Path, accuracies: Sequence[float], reported: dict[str, Any] | None, verdict: str) -> None:
    assert one_cell(tmp_path, accuracies, reported).verdict == verdict


def test_the_five_percent_boundary(tmp_path: Path) -> None:
    # one-sample, n 3, std 1: p = 0.05 where the difference is 4.302652729911275 / sqrt(3) = 2.484137...
    assert one_cell(tmp_path, (71.0, 72.0, 73.0), {"mean": 69.516}, margin=5).verdict == "reproduced"
    (other := tmp_path / "other").mkdir()
    assert one_cell(other, (71.0, 72.0, 73.0), {"mean": 69.515}, margin=5).verdict == "higher"


def test_values_and_statistics(tmp_path: Path) -> None:
    result = one_cell(tmp_path, (71.0, 72.0, 73.0), {"mean": 71.5, "std": 0.1, "n": 3})
    assert result.values == (71.0, 72.0, 73.0)
    assert result.seeds == (0, 1, 2)
    assert (result.head, result.epoch, result.metric, result.planned) == ("student", "best", "accuracy", 3)
    assert result.summary.mean == pytest.approx(72.0)
    assert result.comparison is not None
    assert (result.comparison.test, result.comparison.difference) == ("Welch", pytest.approx(0.5))


def test_an_error_is_compared_as_an_error(tmp_path: Path) -> None:
    result = one_cell(tmp_path, (71.9, 72.0, 72.1), {"mean": 27.0, "metric": "error"})
    assert result.values == pytest.approx((28.1, 28.0, 27.9))
    assert result.comparison is not None
    assert result.comparison.difference == pytest.approx(1.0)
    assert result.verdict == "higher"


def test_a_single_run_gets_no_test(tmp_path: Path) -> None:
    result = one_cell(tmp_path, (72.0,), {"mean": 72.0}, seeds=[0])
    assert result.verdict == "single run"
    assert result.summary.std is None


def test_a_selection_of_seeds_is_not_the_whole_cell(tmp_path: Path) -> None:
    result = one_cell(tmp_path, (72.0, 72.1), {"mean": 72.0}, Selection(seeds=(0, 1)))
    assert result.verdict_text == "incomplete 2/3"


def test_incomplete_says_how_far(tmp_path: Path) -> None:
    assert one_cell(tmp_path, (72.0, 72.1), {"mean": 72.0}).verdict_text == "incomplete 2/3"


def test_changed_settings_are_never_compared(tmp_path: Path) -> None:
    changed = Selection(settings={"data.subset": 400})
    result = one_cell(tmp_path, (71.0, 72.0, 73.0), {"mean": 72.0}, changed)
    assert (result.verdict, result.comparison) == ("changed settings", None)
    assert result.summary.n == 3
    unchanged = evaluate_cells(fabricate.plan(tmp_path, grid=GRID, table={}), tmp_path)
    assert unchanged[0].summary.n == 0


def test_diverged_and_unfinished_runs_are_counted_and_left_out(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path, grid=GRID, table={})
    first, second, third = (run.config for run in plan.runs)
    fabricate.run(tmp_path, first, {"student": [50.0, 60.0]})
    fabricate.run(tmp_path, second, {"student": [1.0]}, "diverged")
    fabricate.run(tmp_path, third, {"student": [99.0]}, "interrupted")
    (result,) = evaluate_cells(plan, tmp_path)
    assert result.states == ("finished", "diverged", "interrupted")
    assert (result.values, result.seeds, result.diverged) == ((60.0,), (0,), 1)
    assert result.verdict_text == "incomplete 1/3"


def test_a_cell_that_cannot_run_is_unavailable(tmp_path: Path) -> None:
    grid = {**GRID, "method": ["not-yet"]}
    cells = [{**WHERE, "method": "not-yet", "mean": 72.0}]
    plan = fabricate.plan(tmp_path, grid=grid, table={}, reported={"cells": cells})
    (result,) = evaluate_cells(plan, tmp_path)
    assert (result.verdict, result.planned, result.values) == ("unavailable", 0, ())


def test_another_protocol_than_the_papers_is_not_compared(tmp_path: Path) -> None:
    cells = [{**WHERE, "mean": 72.0}]
    plan = fabricate.plan(tmp_path, grid=GRID, table={}, reported={"cells": cells})
    for run in plan.runs:
        fabricate.run(tmp_path, run.config, {"student": [72.0 + run.config.seed, 70.0], "other": [1.0, 2.0]})
    (last,) = evaluate_cells(plan, tmp_path, "last")
    assert (last.verdict, last.comparison, last.values) == ("other protocol", None, (70.0, 70.0, 70.0))
    (best,) = evaluate_cells(plan, tmp_path, "best")  # the recipe's own protocol under another name
    assert best.comparison is not None
    assert best == evaluate_cells(plan, tmp_path)[0]


def test_last_and_best_take_the_deployed_head(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path, grid=GRID, table={}, seeds=[0])
    fabricate.run(tmp_path, plan.runs[0].config, {"peer0": [50.0, 40.0], "fused": [70.0, 60.0]}, deployed="fused")
    (last,) = evaluate_cells(plan, tmp_path, "last")
    (best,) = evaluate_cells(plan, tmp_path, "best")
    assert (last.head, last.epoch, last.values) == ("fused", "last", (60.0,))
    assert (best.head, best.epoch, best.values) == ("fused", "best", (70.0,))


def test_every_head_at_two_epochs(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path, grid=GRID, table={}, seeds=[0, 1])
    for run in plan.runs:
        fabricate.run(tmp_path, run.config, {"peer0": [50.0, 40.0], "fused": [70.0, 60.0]}, deployed="fused")
    found = {(result.head, result.epoch): result.summary.mean for result in evaluate_heads(plan, tmp_path)}
    assert found == {
        ("peer0", "last"): 40.0,
        ("peer0", "best"): 50.0,
        ("fused", "last"): 60.0,
        ("fused", "best"): 70.0,
    }


def test_a_protocol_without_such_a_head_names_recipe_and_method(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path, grid=GRID, table={}, protocol={"default": {"head": "peer0", "epoch": "last"}})
    fabricate.run(tmp_path, plan.runs[0].config, {"student": [50.0, 60.0]})
    with pytest.raises(UsageError, match=r'recipe small: protocol of baseline: .*"peer0"; choose from: student'):
        evaluate_cells(plan, tmp_path)


RATE = {"default": {"head": "student", "epoch": "last", "statistic": "collapse-rate"}}
COLLAPSED = "collapsed: logits below 1e-3 at chance accuracy for 5 epochs"


def test_a_collapse_rate_counts_the_runs_that_ended(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path, grid=GRID, table={}, protocol=RATE, seeds=[0, 1, 2, 3, 4])
    ends = [("finished", ""), ("diverged", COLLAPSED), ("diverged", "loss not finite"), ("interrupted", "")]
    for run, (status, reason) in zip(plan.runs, ends, strict=False):
        fabricate.run(tmp_path, run.config, {"student": [10.0]}, status, reason=reason)
    (result,) = evaluate_cells(plan, tmp_path)
    assert (result.metric, result.seeds, result.values) == ("collapse rate", (0, 1, 2), (0.0, 100.0, 0.0))
    assert (result.collapsed, result.summary.n, result.planned) == (1, 3, 5)
    assert result.summary.mean == pytest.approx(100 / 3) and result.verdict_text == "incomplete 3/5"
    (accuracy,) = evaluate_cells(plan, tmp_path, "last")
    assert (accuracy.metric, accuracy.values) == ("accuracy", (10.0,))


def test_a_rate_is_not_compared_with_a_printed_accuracy(tmp_path: Path) -> None:
    result = one_cell(tmp_path, (10.0, 10.0, 10.0), {"mean": 10.0}, protocol=RATE)
    assert (result.verdict, result.comparison) == ("other protocol", None)


def test_curves_are_the_protocols_head_after_every_epoch(tmp_path: Path) -> None:
    result = one_cell(tmp_path, (71.0, 72.0), {"mean": 30.0, "metric": "error"})
    assert result.curves == ((50.0, 29.0), (50.0, 28.0))


AVERAGED = {
    "grid": {**GRID, "method": ["dml", "dml@ema"]},
    "table": {"columns": "method"},
    "variants": {"@ema": {}},
    "protocol": {"default": {"head": "deployed", "epoch": "last"}, "@ema": {"head": "deployed@ema", "epoch": "last"}},
    "seeds": [0],
}


def test_a_moving_average_is_a_cell_of_the_same_run(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path, **AVERAGED)
    (run,) = plan.runs
    heads = {"peer0": [50.0, 40.0], "peer1": [1.0, 2.0], "peer0@ema": [60.0, 55.0], "peer1@ema": [1.0, 2.0]}
    fabricate.run(tmp_path, run.config, heads, deployed="peer0")
    assert [(cell.head, cell.values) for cell in evaluate_cells(plan, tmp_path)] == [
        ("peer0", (40.0,)),
        ("peer0@ema", (55.0,)),
    ]
    assert [(cell.head, cell.values) for cell in evaluate_cells(plan, tmp_path, "best")] == [
        ("peer0", (50.0,)),
        ("peer0@ema", (60.0,)),
    ], "another protocol still reads the average where the recipe does"
    every = evaluate_heads(plan, tmp_path)
    assert [cell.head for cell in every] == [head for head in heads for _ in ("last", "best")], "each run once"


def test_a_cell_is_compared_with_the_reference_of_its_own_settings(tmp_path: Path) -> None:
    """An axis of all methods gives the reference a cell for each value; each is compared with that of its own."""
    plan = fabricate.plan(
        tmp_path,
        grid={"dataset": "cifar10", "network": "resnet8", "method": ["dml", "kdcl"], "method.temperature": [2, 4]},
        overrides=[],
        table={"rows": "method.temperature", "columns": "method", "reference": "dml"},
    )
    tops = {("dml", 2): 50.0, ("dml", 4): 60.0, ("kdcl", 2): 51.0, ("kdcl", 4): 60.5}
    for cell in plan.cells:
        for run in cell.runs:
            top = tops[cell.method, cell.value("method.temperature")]
            fabricate.run(tmp_path, run.config, {"student": [top, top]})
    found = {
        (result.cell.method, result.cell.value("method.temperature")): result.paired and result.paired.summary.mean
        for result in evaluate_cells(plan, tmp_path)
    }
    assert found == {("dml", 2): None, ("dml", 4): None, ("kdcl", 2): 1.0, ("kdcl", 4): 0.5}


def test_every_reading_is_compared_with_the_reference_as_the_protocol_reads_it(tmp_path: Path) -> None:
    plan = fabricate.plan(
        tmp_path,
        grid={"dataset": "cifar10", "network": "resnet8", "method": ["baseline", "dml"]},
        protocol={"default": {"head": "student", "epoch": "last"}},
        readings={"ema": {"averaged": True}},
        table={"rows": "method", "columns": "reading", "reference": "baseline"},
    )
    for run in plan.runs:
        top = 50.0 if run.config.method == "baseline" else 52.0
        fabricate.run(tmp_path, run.config, {"student": [top, top], "student@ema": [top, top + 1]})
    found = {
        (result.cell.method, result.cell.reading): result.paired and result.paired.summary.mean
        for result in evaluate_cells(plan, tmp_path)
    }
    assert found == {("baseline", "default"): None, ("baseline", "ema"): 1, ("dml", "default"): 2, ("dml", "ema"): 3}


def test_readings_are_compared_with_the_same_runs(tmp_path: Path) -> None:
    changes = {
        "grid": {**GRID, "method": ["baseline", "kd"]},
        "teachers": {"kd": {"network": "resnet32", "method": "baseline"}},
        "protocol": {"default": {"head": "student", "epoch": "last"}},
        "readings": {"best": {"epoch": "best-on-test"}},
        "table": {"rows": "method", "columns": "reading", "reference": "default"},
    }
    plan = fabricate.plan(tmp_path, **changes)
    for cell in plan.cells[:1] + plan.cells[2:3]:
        for run in cell.runs:
            fabricate.run(tmp_path, run.config, {"student": [60.0 + run.seed, 58.0]})
    found = {(str(each.cell.method), each.cell.reading): each for each in evaluate_cells(plan, tmp_path)}
    assert {key: each.paired and each.paired.summary.mean for key, each in found.items()} == {
        ("baseline", "default"): None,
        ("baseline", "best"): 3.0,
        ("kd", "default"): None,
        ("kd", "best"): 3.0,
    }
    best = found["kd", "best"]
    assert best.chosen_on_test and not found["kd", "default"].chosen_on_test
    assert best.paired and (best.paired.p_value, best.paired.exact_p_value, best.paired.summary.ci95) == (None,) * 3, (
        "the best of a run's epochs cannot be below its last"
    )


def test_only_complete_cells_correct_each_other(tmp_path: Path) -> None:
    plan = fabricate.plan(
        tmp_path,
        grid={"dataset": "cifar10", "network": "resnet8", "method": ["baseline", "dml", "kdcl", "one"]},
        protocol={"default": {"head": "student", "epoch": "last"}},
        table={"rows": "method", "columns": "network", "reference": "baseline"},
        reported={"cells": [{**WHERE, "dataset": "cifar10", "method": name, "mean": 60.0} for name in ("dml", "one")]},
    )
    gains = {"baseline": (0.0, 0.0, 0.0), "dml": (2.0, 2.5, 3.0), "kdcl": (1.0, 2.0, 1.0), "one": (1.0, 2.0)}
    for cell in plan.cells:
        for run, gain in zip(cell.runs, gains[str(cell.method)], strict=False):
            fabricate.run(tmp_path, run.config, {"student": [1.0, 50.0 + run.seed + gain]})
    found = {str(each.cell.method): each for each in evaluate_cells(plan, tmp_path)}
    dml, kdcl, one = (found[name].paired for name in ("dml", "kdcl", "one"))
    assert dml and kdcl and one and dml.p_value and one.p_value and one.holm_p_value is None
    assert (dml.holm_p_value, kdcl.holm_p_value) == (pytest.approx(2 * dml.p_value), kdcl.p_value)
    with_paper = [found[name].comparison for name in ("dml", "one")]
    assert [each and each.holm_p_value for each in with_paper] == [with_paper[0] and with_paper[0].p_value, None]

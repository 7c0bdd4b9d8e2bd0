"""Which numbers are tested, ranked and emphasised together, and what a report says where there is no test."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fabricate
import pytest

from okdbench.plan import Plan, Selection, expand
from okdbench.recipe import load
from okdbench.report import build, numbers, render
from okdbench.report.table import TableReport

METHODS = ("baseline", "dml", "dkel")
GRID = {"dataset": ["cifar100"], "network": ["resnet8"], "method": list(METHODS)}
TABLE = {"rows": "network", "columns": "method", "reference": "baseline"}
LAST = {"default": {"head": "student", "epoch": "last"}}


def with_runs(folder: Path, accuracies: Mapping[str, Sequence[float]], **changes: Any) -> Plan:
    """One table of one network whose methods end at these accuracies of seeds 0, 1 and so on."""
    plan = fabricate.plan(folder, **{"grid": GRID, "table": TABLE, "protocol": LAST, **changes})
    for cell in plan.cells:
        for run, top1 in zip(cell.runs, accuracies.get(cell.method, ()), strict=False):
            if not (folder / "small" / run.config.folder).exists():
                fabricate.run(folder, run.config, {"student": [10.0, top1]})
    return plan


def facts(report: TableReport) -> dict[str, dict[str, Any]]:
    return {cell["method"]: cell for cell in json.loads(render([report], "json"))["reports"][0]["cells"]}


def test_a_cell_printed_as_an_error_is_compared_ranked_and_emphasised_with_accuracies(tmp_path: Path) -> None:
    place = {"dataset": "cifar100", "network": "resnet8"}
    printed = [{**place, "method": "dkel", "mean": 27.0, "metric": "error"}, {**place, "method": "dml", "mean": 71.0}]
    accuracies = {"baseline": (70.0, 71.0, 72.0), "dml": (71.0, 71.5, 72.4), "dkel": (72.5, 73.0, 75.0)}
    report = build(with_runs(tmp_path, accuracies, reported={"cells": printed}), tmp_path)
    assert facts(report)["dkel"]["paired_difference"] == pytest.approx(2.5)
    ranks = json.loads(render([report], "json"))["reports"][0]["ranks"]
    assert [(each["method"], each["rank"]) for each in ranks[0]["methods"]] == [
        ("dkel", 1),
        ("dml", 2),
        ("baseline", 3),
    ]
    text = render([report], "markdown")
    assert "**26.50" in text and "<ins>71.63" in text and "negative is better" not in text


def test_only_whole_cells_and_whole_pairs_are_tests_of_the_table(tmp_path: Path) -> None:
    accuracies = {"baseline": (70.0, 71.0), "dml": (71.0, 71.9, 70.4), "dkel": (72.5, 73.0, 75.0)}
    plan = with_runs(tmp_path, accuracies)
    found = facts(build(plan, tmp_path))
    assert [found[name]["paired_holm_p_value"] for name in METHODS] == [None] * 3, "the reference lacks a seed"
    some = build(expand(plan.recipe, Selection(seeds=(0, 1))), tmp_path)
    assert facts(some)["dml"]["paired_p_value"] is not None and facts(some)["dml"]["paired_holm_p_value"] is None


def test_a_report_says_why_there_is_no_p(tmp_path: Path) -> None:
    accuracies = {"baseline": (70.0, 71.0, 72.0), "dml": (70.5, 71.5, 72.5), "dkel": (70.6, 71.5, 72.7)}
    best = {"default": {"head": "student", "epoch": "best"}}
    text = " ".join(render([build(with_runs(tmp_path, accuracies, protocol=best), tmp_path)], "text").split())
    assert "Where all seeds differ by the same, the t-test has no p." in text
    assert "never worse" not in text, "two methods can have either order"
    (tmp_path / "best").mkdir()
    table = {"rows": "method", "columns": "reading", "reference": "default"}
    plan = with_runs(tmp_path / "best", accuracies, protocol=LAST, readings={"best": {"epoch": "best"}}, table=table)
    text = " ".join(render([build(plan, tmp_path / "best")], "text").split())
    assert "chosen on the test set is never worse" in text and "differ by the same" not in text


def test_equal_runs_are_no_proof_against_the_paper(tmp_path: Path) -> None:
    place = {"dataset": "cifar100", "network": "resnet8"}
    printed = [{**place, "method": "baseline", "mean": 71.0}, {**place, "method": "dkel", "mean": 72.0}]
    plan = with_runs(
        tmp_path, {"baseline": (71.02, 71.02), "dkel": (72.9, 72.9)}, reported={"cells": printed}, seeds=[0, 1]
    )
    report = build(plan, tmp_path)
    assert [facts(report)[name]["verdict"] for name in ("baseline", "dkel")] == ["reproduced", "inconclusive"]
    assert facts(report)["dkel"]["p_value"] is None
    explained = str(report.explanation("dkel").facts()["cells"])
    assert "test: none, as all 2 runs are equal" in explained and "inconclusive, all 2 runs are equal" in explained


def test_the_least_exact_p_is_that_of_the_patterns_tried(tmp_path: Path) -> None:
    seeds = list(range(18))
    accuracies = {"baseline": [70.0 + seed / 9 for seed in seeds], "dml": [71.0 + seed**2 / 50 for seed in seeds]}
    report = build(with_runs(tmp_path, accuracies, seeds=seeds), tmp_path)
    least = facts(report)["dml"]["paired_least_p_value"]
    assert f"at least {least:.2g} for n = 18" in " ".join(render([report], "text").split())


def test_a_diverged_run_is_counted_once_however_often_it_is_read(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path, grid=GRID, protocol=LAST, readings={"best": {"epoch": "best"}})
    for run in plan.runs[:3]:
        fabricate.run(tmp_path, run.config, {"student": [1.0, 2.0]}, "diverged" if run.config.seed else "finished")
    assert "Diverged runs (2) count as unfinished" in " ".join(render([build(plan, tmp_path)], "text").split())


def test_methods_of_one_printed_name_have_rows_of_their_own(tmp_path: Path) -> None:
    accuracies = {"baseline": (70.0, 71.0, 72.0), "dml": (71.0, 71.5, 72.4), "dkel": (72.5, 73.0, 75.0)}
    names = {"dml": "Ours", "dkel": "Ours"}
    plan = with_runs(tmp_path, accuracies, table={**TABLE, "names": names})
    [ranks] = [each for each in build(plan, tmp_path).document().details if each.title == "Average ranks"]
    assert [row[:2] for row in ranks.rows] == [("Ours", "1.00"), ("Ours", "2.00"), ("Baseline", "3.00")]
    assert "71.63" in render([build(plan, tmp_path, "all")], "text")


def test_claims_are_judged_on_the_whole_table_under_its_own_protocol(tmp_path: Path) -> None:
    place = {"dataset": "cifar100", "network": "resnet8"}
    printed = [{**place, "method": "baseline", "mean": 70.0}, {**place, "method": "dkel", "mean": 73.0}]
    gain = "cell(cifar100, resnet8, dkel) - cell(cifar100, resnet8, baseline)"
    claim = {"id": "gain", "text": "DKEL gains 3", "printed": "3.0", "formula": gain, "source": "text"}
    best = {"default": {"head": "student", "epoch": "best"}}
    plan = fabricate.plan(tmp_path, grid=GRID, protocol=best, reported={"cells": printed}, claims=[claim])
    for cell in plan.cells:
        for run in cell.runs:
            top1 = 70.0 + (3.0 + run.config.seed / 10 if cell.method == "dkel" else 0.0)
            fabricate.run(tmp_path, run.config, {"student": [top1, 50.0]})
    part = expand(load(tmp_path / "small.yaml"), Selection(methods=("dkel",)))
    for report in (build(plan, tmp_path), build(plan, tmp_path, "last"), build(part, tmp_path)):
        rows = [row for listing in report.appendix().audit for row in listing.rows]
        assert any("3.10 ± 0.10, n = 3: compatible" in row for row in rows), rows


def test_a_table_of_collapse_rates_is_one_for_a_paper(tmp_path: Path) -> None:
    rate = {"default": {"head": "student", "epoch": "last", "statistic": "collapse-rate"}}
    plan = fabricate.plan(tmp_path, grid=GRID, protocol=rate)
    for run in plan.runs:
        fabricate.run(tmp_path, run.config, {"student": [10.0]}, "diverged", reason="collapsed: logits below 1e-3")
    text = render([build(plan, tmp_path)], "text", style="paper")
    assert "Collapse rates are in percent" in text and "100.0" in text and "runs are finished" not in text


def test_no_p_below_five_percent_is_printed_as_five_percent() -> None:
    assert [numbers.p_value(p) for p in (0.04998, 0.0494, 0.05, 0.0004, 0.001)] == [
        "<0.05",
        "0.049",
        "0.050",
        "<0.001",
        "0.001",
    ]
    assert [numbers.equality(p) for p in (0.04998, 0.05)] == ["< 0.05", "= 0.050"]

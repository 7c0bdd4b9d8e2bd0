"""Claims on one's own runs: which cells they need, and how the seeds decide."""

from pathlib import Path

import fabricate
import pytest

from okdbench.recipe import CellKey
from okdbench.recipe.claims import Claim
from okdbench.recipe.formula import cells_of
from okdbench.results.cells import evaluate_cells
from okdbench.results.claims import judge_claim, measured_numbers
from okdbench.studies.audit import audit, judged_on_runs

AXES = {"dataset": ("d",), "network": ("n", "o"), "method": ("a", "b")}
A, B = (CellKey("d", "n", method) for method in ("a", "b"))  # type: ignore[arg-type]
GAIN = "cell(d, n, b) - cell(d, n, a)"


def judged(formula: str, measured: dict[CellKey, dict[int, float]], printed: str | None = None) -> str:
    return judge_claim(Claim(id="x", text="x", formula=formula, printed=printed, source="x"), AXES, measured)


def test_which_cells_a_formula_is_about() -> None:
    assert set(cells_of(GAIN, AXES)) == {A, B}
    assert len(cells_of("all(cell(d, x, b) > cell(d, x, a) for x in network)", AXES)) == 4
    assert cells_of("81.83 - 1.09 > 2", AXES) == ()


def test_a_number_has_its_spread_over_the_seeds_that_all_cells_have() -> None:
    measured = {A: {0: 70.0, 1: 71.0, 2: 70.5}, B: {0: 70.5, 1: 71.3, 2: 70.9, 3: 99.0}}
    assert judged(GAIN, measured, ".37") == "0.40 ± 0.10, n = 3: compatible"  # gains .5, .3, .4; interval .15 to .65
    assert judged(GAIN, measured, "1.5") == "0.40 ± 0.10, n = 3: differs"
    assert judged(GAIN, {A: {0: 70.0}, B: {0: 70.5}}, ".37") == "0.50, n = 1"


def test_a_statement_is_judged_by_the_means_and_seed_by_seed() -> None:
    measured = {A: {0: 70.0, 1: 72.0, 2: 70.0}, B: {0: 72.0, 1: 71.0, 2: 72.0}}
    better = "cell(d, n, b) > cell(d, n, a)"
    assert judged(better, measured) == "holds (71.67 > 70.67), in 2 of 3 seeds"
    assert judged(better, {A: {4: 72.0}, B: {4: 71.0}}) == "does not hold (71 > 72), n = 1"


def test_a_formula_that_one_seed_cannot_compute_says_so() -> None:
    share = "(cell(d, n, b) - 70) / (cell(d, n, a) - 70)"
    measured = {A: {0: 71.0, 1: 70.0}, B: {0: 72.0, 1: 72.0}}
    assert judged(share, measured, "2") == "cannot be computed: it divides by zero"


def test_rounding_errors_decide_no_claim() -> None:
    for base in range(40, 90):
        gains = {A: {0: base, 1: base + 0.1}, B: {0: base + 0.405, 1: base + 0.1 + 0.405}}
        assert judged(GAIN, gains, ".41").endswith("compatible"), base


def test_missing_runs_are_named() -> None:
    assert judged(GAIN, {}, ".3") == ""
    assert judged(GAIN, {A: {0: 1.0}}, ".3") == "1 of 2 cells trained"
    assert judged(GAIN, {A: {0: 1.0}, B: {1: 1.0}}, ".3") == "no seed that all its cells have"
    assert judged("3 - 1", {A: {0: 1.0}}, "2") == ""


@pytest.fixture
def claims() -> list[dict[str, object]]:
    cells = [f"cell(cifar100, resnet8, {method})" for method in ("dkel", "baseline")]
    return [
        {"id": "gain", "text": "DKEL gains 1.0", "printed": "1.0", "formula": " - ".join(cells), "source": "text"},
        {"id": "own", "text": "x", "formula": " < ".join(cells), "own_runs_only": True, "source": "our question"},
    ]


def test_the_audit_judges_claims_on_the_runs_of_their_recipe(tmp_path: Path, claims) -> None:
    place = {"dataset": "cifar100", "network": "resnet8"}
    numbers = [{**place, "method": "baseline", "mean": 70.0}, {**place, "method": "dkel", "mean": 71.0}]
    plan = fabricate.plan(tmp_path, claims=claims, reported={"cells": numbers})
    for run in plan.runs:
        if run.config.network == "resnet8":
            gain = 1.1 + 0.1 * run.seed if run.config.method == "dkel" else 0.0
            fabricate.run(tmp_path / "runs", run.config, {"student": [60.0, 70.0 + gain]})
    gain, own, *_ = judged_on_runs(audit([plan.recipe], "small"), tmp_path / "runs", lambda name: plan.recipe)
    assert (gain.holds, gain.ours) == (True, "1.20 ± 0.10, n = 3: compatible")
    assert (own.holds, own.computed, own.result) == (None, "", "needs runs")
    assert own.ours == "does not hold (71.2 < 70), in 0 of 3 seeds"
    assert [each.ours for each in audit([plan.recipe], "small")[:2]] == ["", ""]
    assert len(measured_numbers(evaluate_cells(plan, tmp_path / "runs"))) == 2

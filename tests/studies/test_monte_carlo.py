"""The Monte Carlo simulation against a plain loop, a closed form, and the values of the reference study."""

import cmath
import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from okdbench.config import CLAIMS, SimulationSettings
from okdbench.recipe import load
from okdbench.studies import monte_carlo
from okdbench.studies.monte_carlo import METHODS, claims, grid, judge, simulate

READINGS = load("dkel-figure5").variants
EPOCHS = (0, 5, 10, 20, 40, 60, 70, 89)
REFERENCE = {  # an independent simulation with 10,000 trials
    "recommended": {
        "pcl": "1.220 .899 .633 .364 .155 .0685 .0455 .0210",
        "dk": "1.107 .831 .589 .339 .145 .0639 .0425 .0196",
        "dkel": "1.094 .796 .570 .338 .145 .0641 .0426 .0196",
    },
    "closest-order": {
        "pcl": "1.224 .896 .649 .427 .282 .192 .157 .108",
        "dk": "1.110 .822 .597 .394 .256 .171 .139 .094",
        "dkel": "1.116 .840 .603 .390 .250 .165 .134 .091",
    },
}
CASES = [
    SimulationSettings(),
    SimulationSettings(direction="unit", peer_mean="sum", ensemble="convex"),
    SimulationSettings(pcl_teacher="independent", gap="student", truth_offset=0.3, ema="warmup", b=0.999),
    SimulationSettings(direction="unit", init_direction="unit", init_steps=3, peers=4, alpha=0.1, learning_rate=0.05),
    SimulationSettings(ensemble="convex", peer_mean="sum", peers=2, init_steps=0, ema="warmup", b=0.6),
]


def outcomes(name: str, **changes: object) -> dict[str, bool]:
    variant = SimulationSettings.model_validate(READINGS[name].model_dump() | changes)
    return {claim.name: claim.holds for claim in claims(variant)}


def plain_loop(r: SimulationSettings, method: str, trial: int) -> list[float]:
    """One trial, one number at a time, straight from the equations."""

    def towards(here: complex, there: complex, direction: str = r.direction) -> complex:
        step = there - here
        return step if direction == "raw" else cmath.rect(1, cmath.phase(step)) if step else 0

    points = [monte_carlo.starting_points(r, stream)[:, trial] for stream in (0, 1)]
    s = list(points[0])
    t = list(points[1] if method == "pcl" and r.pcl_teacher == "independent" else points[0])
    if method != "pcl":
        for _ in range(r.init_steps):
            t = [x + r.learning_rate * towards(x, 0, r.init_direction) for x in t]
    gaps = []
    for e in range(r.epochs):
        centre, new = sum(s) / r.peers, []
        for i, x in enumerate(s):
            others = [t[j] for j in range(r.peers) if j != i]
            peers = sum(towards(x, y) for y in others) / (len(others) if r.peer_mean == "mean" else 1)
            if method == "dkel":
                weight = math.exp(-r.alpha * e)
                both = weight * towards(x, sum(others) / len(others))
                peers = both + (peers if r.ensemble == "additive" else (1 - weight) * peers)
            new.append(x + r.learning_rate * (towards(x, 0) + towards(x, centre) + peers))
        s = new
        keep = r.b if r.ema == "constant" else min(1 - 1 / (e + 1), r.b)
        t = [keep * y + (1 - keep) * x for x, y in zip(s, t, strict=True)]
        gaps.append(sum(abs(x - r.truth_offset) for x in (t if r.gap == "teacher" else s)) / r.peers)
    return gaps


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_equals_a_plain_loop(case: SimulationSettings) -> None:
    variant = case.model_copy(update={"trials": 3, "epochs": 40})
    for method, curve in simulate(variant).items():
        expected = np.array([plain_loop(variant, method, trial) for trial in range(3)])
        np.testing.assert_allclose(curve.mean, expected.mean(axis=0), rtol=1e-10)
        np.testing.assert_allclose(curve.standard_error, expected.std(axis=0, ddof=1) / math.sqrt(3), rtol=1e-8)
        np.testing.assert_allclose(curve.quantiles, np.quantile(expected, (0.05, 0.25, 0.75, 0.95), axis=0), rtol=1e-10)


def exact_mean(method: str) -> list[float]:
    """Raw steps are linear, so a teacher stays Gaussian: E|T| = sigma sqrt(pi / 2), sigma from its coefficients."""
    m = METHODS[method]
    eye, ones = np.eye(3), np.ones((3, 3))
    s, t, means = eye, (0.9 if m.decoupled else 1.0) * eye, []  # students and teachers in terms of the starting points
    for e in range(90):
        pull = 1 + (math.exp(-0.5 * e) if m.decaying else 0)
        s = s + 0.1 * (-s + (ones @ s / 3 - s) + pull * ((ones - eye) @ t / 2 - s))
        t = 0.9 * t + 0.1 * s
        means.append(math.sqrt(math.pi / 2) * float(np.linalg.norm(t, axis=1).mean()))
    return means


def test_recommended_reading_equals_the_closed_form() -> None:
    for method, curve in simulate(SimulationSettings()).items():
        assert np.all(np.abs(curve.mean - exact_mean(method)) <= 4 * curve.standard_error), method


@pytest.mark.parametrize("name", REFERENCE)
def test_equals_the_reference_study_within_monte_carlo_error(name: str) -> None:
    """Both sides have the same standard error, and the printed value is rounded."""
    curves = simulate(READINGS[name])
    for method, printed in REFERENCE[name].items():
        curve = curves[method]
        for epoch, value in zip(EPOCHS, printed.split(), strict=True):
            rounding = 0.5 * 10.0 ** -len(value.partition(".")[2])
            tolerance = 4 * math.sqrt(2) * curve.standard_error[epoch] + rounding
            assert abs(curve.mean[epoch] - float(value)) <= tolerance, (method, epoch)


@pytest.mark.parametrize(("b", "epoch"), [(0.9, 78), (0.8, 63), (0.5, 46)])
def test_convergence_epochs_of_the_reference_study(b: float, epoch: int) -> None:
    """It counts epochs from 0."""
    for curve in simulate(SimulationSettings(b=b, trials=4000)).values():
        assert curve.convergence_epoch is not None and abs(curve.convergence_epoch - 1 - epoch) <= 1


@pytest.mark.parametrize(
    "variant", [SimulationSettings(b=0.99), SimulationSettings(b=0.999), SimulationSettings(ema="warmup", b=0.999)]
)
def test_slow_averages_do_not_converge(variant: SimulationSettings) -> None:
    curves = simulate(variant.model_copy(update={"trials": 500}))
    assert [curve.convergence_epoch for curve in curves.values()] == [None] * 3


def test_with_raw_steps_a_convex_mix_does_nothing() -> None:
    curves = simulate(SimulationSettings(ensemble="convex", trials=500))
    np.testing.assert_allclose(curves["dkel"].mean, curves["dk"].mean, rtol=1e-12)
    assert not curves["dkel"].lower_than("dk").any() and not curves["dk"].lower_than("dkel").any()


def test_an_independent_pcl_teacher_ends_with_the_smallest_gap() -> None:
    curves = simulate(READINGS["independent-teacher"])
    assert curves["pcl"].mean[-1] == pytest.approx(0.0156, abs=4 * math.sqrt(2) * curves["pcl"].standard_error[-1])
    assert curves["pcl"].lower_than("dk")[-1] and curves["pcl"].lower_than("dkel")[-1]


def test_differences_are_paired() -> None:
    curves = simulate(SimulationSettings(trials=500))
    difference, error = curves["dk"].differences["pcl"]
    np.testing.assert_allclose(difference, curves["dk"].mean - curves["pcl"].mean, atol=1e-12)
    assert np.all(error < 0.5 * curves["dk"].standard_error), "shared starting points make differences precise"
    assert curves["dk"].final_change("pcl") == pytest.approx(curves["dk"].mean[-1] / curves["pcl"].mean[-1] - 1)


def test_randomness_is_keyed_and_global_state_untouched() -> None:
    before = np.random.get_state()[1].copy()
    first, again, other = (
        simulate(SimulationSettings(trials=50, epochs=5, seed=seed))["pcl"].mean for seed in (0, 0, 1)
    )
    assert np.array_equal(np.random.get_state()[1], before)
    assert np.array_equal(first, again) and not np.allclose(first, other)
    few, many = (monte_carlo.starting_points(SimulationSettings(trials=n), 0) for n in (10, 100))
    assert np.array_equal(few, many[:, :10])


EXPECTED = {
    "recommended": {"dk-better", "dkel-faster"},
    "convex-mix": {"dk-better"},
    "independent-teacher": set(),
    "faster-average": {"dk-better", "pcl-dk-near-70", "dkel-faster"},
    "closest-order": {"dk-better", "dkel-smaller-gap"},
    "earlier-convergence": {"dk-better", "dkel-earlier", "dkel-smaller-gap"},
    "most-claims": {"dk-better", "pcl-dk-near-70", "dkel-faster", "dkel-smaller-gap"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_which_claims_hold_under_which_reading(name: str) -> None:
    assert {claim for claim, holds in outcomes(name, trials=4000, seed=3).items() if holds} == EXPECTED[name]


def test_a_claim_says_what_was_found() -> None:
    rows = {row.name: row for row in judge(simulate(READINGS["convex-mix"].model_copy(update={"trials": 200})))}
    assert tuple(rows) == CLAIMS
    assert rows["dk-better"].outcome == "holds" and rows["dk-better"].numbers["epochs_lower"] == 90
    assert rows["dkel-smaller-gap"].outcome == "does not hold"
    assert rows["dkel-smaller-gap"].finding.endswith("within 0.1% of DK's")
    assert rows["dkel-near-60"].finding == f"DKEL at epoch {rows['dkel-near-60'].numbers['dkel']}"
    slow = {row.name: row for row in claims(SimulationSettings(b=0.999, trials=50))}
    assert slow["dkel-near-60"].finding == "DKEL not converged" and not slow["dkel-near-60"].holds


def test_settings_refuse_what_they_do_not_know() -> None:
    for wrong in ({"direction": "up"}, {"b": 1.0}, {"trails": 10}, {"peers": 1}):
        with pytest.raises(ValidationError):
            SimulationSettings.model_validate(wrong)


def test_the_grid_has_448_different_variants() -> None:
    variants = grid(trials=7)
    assert len({variant.model_dump_json() for variant in variants}) == len(variants) == 448
    assert all(variant.trials == 7 for variant in variants)


@pytest.mark.slow
def test_no_reading_of_the_grid_is_both_faster_at_first_and_converges_earlier() -> None:
    for variant in grid():
        found = {claim.name: claim.holds for claim in claims(variant)}
        assert not (found["dkel-faster"] and found["dkel-earlier"]), variant


@pytest.mark.slow
def test_the_table_in_the_docs_is_what_the_variants_give() -> None:
    page = (Path(__file__).parents[2] / "docs" / "monte-carlo.md").read_text()
    table = page.partition("|---|---|---|---|---|---|---|---|---|\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert [row[0] for row in rows] == list(READINGS)
    for name, *cells in rows:
        curves = simulate(READINGS[name])
        assert cells[:6] == ["yes" if claim.holds else "no" for claim in judge(curves)], name
        assert cells[6] == ", ".join(str(curve.convergence_epoch or "-") for curve in curves.values()), name
        gaps = np.array([float(gap) for gap in cells[7].split(",")])
        np.testing.assert_allclose(gaps, [curve.mean[-1] for curve in curves.values()], atol=5.1e-5)

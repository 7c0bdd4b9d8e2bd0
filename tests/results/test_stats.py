import math
import warnings

import pytest
from scipy import stats

from okdbench.results.stats import (
    compare_means,
    detectable_difference,
    holm,
    paired_difference,
    proportion,
    seeds_needed,
    sign_flip_test,
    summarise,
)


def test_summary_by_hand() -> None:
    summary = summarise([71.0, 72.0, 73.0])
    assert summary.n == 3
    assert summary.mean == pytest.approx(72.0)
    assert summary.std == pytest.approx(1.0)
    assert summary.ci95 == pytest.approx((72 - 4.302652729911275 / math.sqrt(3), 72 + 4.302652729911275 / math.sqrt(3)))


def test_one_run_has_no_spread_and_none_has_no_mean() -> None:
    one = summarise([71.0])
    assert (one.mean, one.std, one.ci95) == (71.0, None, None)
    assert summarise([]).mean is None


def test_interval_equals_scipy() -> None:
    values = [74.1, 74.9, 73.8, 74.6, 74.4]
    expected = stats.t.interval(0.95, 4, loc=sum(values) / 5, scale=stats.sem(values))
    assert summarise(values).ci95 == pytest.approx(expected)


def test_welch_by_hand() -> None:
    # both stds 1, both n 3, means one apart: t = 1 / sqrt(2/3), df = 4
    found = compare_means([71.0, 72.0, 73.0], 71.0, 1.0, 3)
    assert found.test == "Welch"
    assert found.difference == pytest.approx(1.0)
    assert found.p_value == pytest.approx(0.2878641347266905)


def test_welch_equals_scipy_on_raw_samples() -> None:
    ours, theirs = [74.1, 74.9, 73.8], [74.9, 75.1, 74.6, 74.7]
    summary = summarise(theirs)
    assert summary.mean is not None
    found = compare_means(ours, summary.mean, summary.std, 4)
    assert found.p_value == pytest.approx(stats.ttest_ind(ours, theirs, equal_var=False).pvalue)


@pytest.mark.parametrize(("std", "n"), [(None, None), (None, 3), (0.2, None), (0.2, 1)])
def test_one_sample_where_the_paper_lacks_std_or_n(std: float | None, n: int | None) -> None:
    ours = [74.1, 74.9, 73.8]
    found = compare_means(ours, 75.0, std, n)
    assert found.test == "one-sample"
    assert found.p_value == pytest.approx(stats.ttest_1samp(ours, 75.0).pvalue)


def test_one_sample_by_hand() -> None:
    # std 1, n 3, one apart: t = sqrt(3), df = 2, and P(|t| > x) = 1 - x / sqrt(2 + x^2) for two degrees of freedom
    assert compare_means([71.0, 72.0, 73.0], 71.0, None, None).p_value == pytest.approx(1 - math.sqrt(3) / math.sqrt(5))


def test_a_single_run_is_not_tested() -> None:
    found = compare_means([71.0], 72.0, 0.1, 3)
    assert (found.difference, found.test, found.p_value) == (-1.0, None, None)


def test_without_any_spread_there_is_no_test() -> None:
    """Accuracies are counts of images: two seeds that get the same number right are no proof of anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for values, theirs in (([71.3] * 3, (71.3, None, None)), ([71.3] * 2, (71.2, 0.0, 3))):
            found = compare_means(values, *theirs)
            assert (found.test, found.p_value, found.decided) == (None, None, False)
        spread_in_theirs = compare_means([71.3, 71.3], 71.2, 0.1, 3).p_value
    assert spread_in_theirs is not None and 0 < spread_in_theirs < 1


def test_paired_differences_match_scipy() -> None:
    ours, reference = {0: 71.0, 1: 72.5, 2: 70.2, 9: 99.0}, {2: 69.9, 0: 70.1, 1: 71.9, 5: 1.0}
    paired = paired_difference(ours, reference)
    expected = stats.ttest_rel([71.0, 72.5, 70.2], [70.1, 71.9, 69.9])
    assert paired.summary.n == 3
    assert paired.summary.mean == pytest.approx(0.6)
    assert paired.p_value == pytest.approx(expected.pvalue)
    assert paired.summary.ci95 == pytest.approx(tuple(expected.confidence_interval()))


def test_pairs_that_all_differ_by_the_same_tell_nothing_of_the_spread() -> None:
    """Accuracies are counts of images: two seeds that both gain one image are no proof."""
    found = paired_difference({0: 28.1, 1: 29.1}, {0: 28.0, 1: 29.0})
    assert found is not None and found.summary.mean == pytest.approx(0.1) and found.summary.ci95 is None
    assert (found.p_value, found.exact_p_value, found.decided) == (None, 0.5, False)
    same = paired_difference({0: 28.0, 1: 29.0}, {0: 28.0, 1: 29.0})
    assert same is not None and (same.p_value, same.exact_p_value, same.summary.ci95) == (None, 1.0, None)


def test_pairs_need_a_common_seed_and_two_of_them_for_a_test() -> None:
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    single = paired_difference({0: 2.0}, {0: 1.5})
    assert (single.summary.mean, single.summary.ci95, single.p_value) == (0.5, None, None)


@pytest.mark.parametrize(("count", "low", "high"), [(0, 0.0, 27.75), (3, 10.78, 60.32), (10, 72.25, 100.0)])
def test_a_share_has_wilsons_interval(count: int, low: float, high: float) -> None:
    """Wilson 1927 for n = 10, z = 1.96: (p + z^2/2n +- z sqrt(p q / n + z^2/4n^2)) / (1 + z^2/n)."""
    summary = proportion(count, 10)
    assert (summary.n, summary.mean, summary.std) == (10, 10.0 * count, None)
    assert summary.ci95 == pytest.approx((low, high), abs=0.005)
    assert proportion(0, 0) == summarise([])


def test_intervals_of_percentages_are_cut() -> None:
    cut = summarise([99.0, 100.0], percentages=True)
    assert cut.cut and cut.ci95 is not None and cut.ci95[1] == 100.0
    assert not summarise([99.0, 100.0]).cut and not summarise([71.0, 72.0], percentages=True).cut


def test_rounding_errors_are_zero() -> None:
    assert 0.1 + 0.2 != 0.3
    assert compare_means([0.1 + 0.2, 0.1 + 0.2], 0.3, None, None).difference == 0.0
    assert summarise([1e-13, -2e-13]).mean == 0.0
    assert summarise([71.04, 71.05]).mean == summarise([71.07, 71.02]).mean, "both are 71.045, and print alike"


@pytest.mark.parametrize(
    ("differences", "p_value", "least"),
    [
        ((1.0, 2.0, 3.0), 0.25, 0.25),  # all of one sign: 2 of 8 patterns
        ((1.0, 2.0, -1.0), 0.75, 0.25),  # sums of 4, 2, 2, 0 and their negatives: 6 of 8 are as large as 2
        ((1.0, 1.0, 1.0, 1.0, 1.0), 0.0625, 0.0625),
        ((0.0, 0.0), 1.0, 0.5),
        ((0.12 - 3e-15, 0.0, 0.0, -0.52 + 4e-15, 0.0, -0.12 - 5e-15), 0.75, 0.03125),  # ties but for rounding errors
        ((0.3 - 0.2, 0.2 - 0.3, 0.7 - 0.5, 0.5 - 0.7), 1.0, 0.125),
    ],
)
def test_sign_flips_by_counting(differences: tuple[float, ...], p_value: float, least: float) -> None:
    assert sign_flip_test(differences) == pytest.approx((p_value, least))


def test_many_pairs_are_flipped_at_random_and_always_alike() -> None:
    first = sign_flip_test([1.0] * 30)
    assert first == sign_flip_test([1.0] * 30) and first[0] >= first[1]


@pytest.mark.parametrize(("effect", "n"), [(1.0, 10), (0.5, 34), (0.8, 15), (2.0, 5)])
def test_seeds_needed_are_those_of_published_tables(effect: float, n: int) -> None:
    """Sample sizes of the paired t-test at 5% and power 0.8, as G*Power and R's power.t.test give them."""
    assert seeds_needed(effect, 1.0) == n
    assert seeds_needed(-3 * effect, 3.0) == n


def test_seeds_needed_cannot_undo_the_papers_spread() -> None:
    assert seeds_needed(0.1, 0.2, (0.4, 3)) is None
    assert seeds_needed(0.0, 0.2) is None
    assert seeds_needed(5.0, 0.1, (0.1, 3)) == 2


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()
    assert holm([None, 0.01, None, 0.04]) == (None, 0.02, None, 0.04)


def test_power_is_known_far_from_zero_with_few_runs() -> None:
    """The power of a t-test with one degree of freedom by quadrature: 80% at 11.55 standard deviations."""
    assert detectable_difference(1.0, 2) == pytest.approx(11.55, abs=0.005)
    assert [seeds_needed(difference, 1.0) for difference in (5.5, 7.0, 8.0, 11.0, 11.6)] == [3, 3, 3, 3, 2]


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_the_detectable_difference_is_the_one_that_needs_so_many_seeds(n: int) -> None:
    least = detectable_difference(0.4, n)
    assert seeds_needed(1.001 * least, 0.4) == n
    assert (seeds_needed(0.999 * least, 0.4) or 0) > n

"""The statistics of a cell: spread over seeds, comparisons with a printed number and with a reference method."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy  # its parts are loaded when they are used

SIGNIFICANCE = 0.05
POWER = 0.8
"""The probability with which `seeds_needed` seeds decide a difference."""
MOST_SEEDS = 1000
"""The most seeds that `seeds_needed` considers."""
MOST_FLIPS = 2**16
"""The most sign patterns that `sign_flip_test` goes through: all of them up to 16 pairs, beyond that a random part."""
ROUNDING = 1e-9
"""Smaller differences are rounding errors of equal values."""

Test = Literal["Welch", "one-sample"]


@dataclass(frozen=True)
class Summary:
    """``std`` is the sample standard deviation (ddof 1), ``ci95`` the t-interval of the mean; None if n < 2.

    Of a proportion: ``mean`` in percent, no ``std``, and Wilson's interval. ``cut`` says that the t-interval reached
    below 0 or above 100 percent and was cut there.
    """

    n: int
    mean: float | None
    std: float | None
    ci95: tuple[float, float] | None
    cut: bool = False


@dataclass(frozen=True)
class Comparison:
    """``difference`` is ours minus theirs; ``test`` and two-sided ``p_value`` are None if ours is a single run, or if
    neither side has any spread.

    ``holm_p_value`` is the p-value corrected for all complete cells of the table, None outside one and of an incomplete
    cell; ``seeds_needed`` is the result of `seeds_needed` for a difference of this size.
    """

    difference: float
    test: Test | None
    p_value: float | None
    holm_p_value: float | None = None
    seeds_needed: int | None = None

    @property
    def decided(self) -> bool:
        """Whether the test finds a difference."""
        return self.p_value is not None and self.p_value < SIGNIFICANCE


@dataclass(frozen=True)
class Paired:
    """A cell minus a reference cell, seed by seed: the ``summary`` of the differences, and p of a paired t-test.

    ``p_value`` is two-sided and None if fewer than two seeds are in both, or if all differ by the same, which tells
    nothing of the spread. ``exact_p_value`` is that of `sign_flip_test`, ``least_p_value`` the least that this number
    of pairs can give; `Comparison` has the other two.
    """

    summary: Summary
    p_value: float | None
    exact_p_value: float | None = None
    least_p_value: float | None = None
    holm_p_value: float | None = None
    seeds_needed: int | None = None

    @property
    def decided(self) -> bool:
        """Whether the t-test finds a difference."""
        return self.p_value is not None and self.p_value < SIGNIFICANCE


def summarise(values: Sequence[float], percentages: bool = False) -> Summary:
    """Return mean and spread of one number per seed; the interval of ``percentages`` is cut at 0 and 100."""
    n = len(values)
    if n == 0:
        return Summary(0, None, None, None)
    mean = _rounded(math.fsum(values) / n)
    if n == 1:
        return Summary(1, mean, None, None)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(scipy.special.stdtrit(n - 1, 0.975)) * std / math.sqrt(n)
    low, high = mean - half, mean + half
    if percentages and (low < -ROUNDING or high > 100 + ROUNDING):
        return Summary(n, mean, std, (max(low, 0.0), min(high, 100.0)), cut=True)
    return Summary(n, mean, std, (low, high))


def proportion(count: int, n: int) -> Summary:
    """``count`` of ``n`` in percent, with Wilson's interval, which stays within 0 and 100 and is never empty."""
    if n == 0:
        return Summary(0, None, None, None)
    interval = scipy.stats.binomtest(count, n).proportion_ci(method="wilson")
    return Summary(n, 100 * count / n, None, (100 * float(interval.low), 100 * float(interval.high)))


def difference_interval(
    values: Sequence[float], mean: float, std: float | None, n: int | None
) -> tuple[float, float] | None:
    """Return the 95% interval of our mean minus a printed one, of the test that `compare` takes; None if n < 2."""
    ours = summarise(values)
    if ours.mean is None or ours.std is None:
        return None
    mine, theirs, freedom = ours.std**2 / ours.n, 0.0, float(ours.n - 1)
    if std is not None and n is not None and n > 1:
        theirs = std**2 / n
        if mine + theirs > 0:
            freedom = (mine + theirs) ** 2 / (mine**2 / (ours.n - 1) + theirs**2 / (n - 1))
    half = float(scipy.special.stdtrit(freedom, 0.975)) * math.sqrt(mine + theirs)
    return ours.mean - mean - half, ours.mean - mean + half


def compare_means(values: Sequence[float], mean: float, std: float | None, n: int | None) -> Comparison:
    """Compare one number per seed (at least one) with a printed mean, and its ``std`` and ``n`` if the paper gives
    them.

    Welch's test where both are given, a one-sample t-test otherwise. Without any spread there is no test: accuracies
    are counts, so that equal ones are a coincidence and no spread of 0.
    """
    ours = summarise(values)
    difference = _rounded(math.fsum(values) / len(values) - mean)
    theirs = (std, n) if std is not None and n is not None and n > 1 else None
    test: Test = "Welch" if theirs else "one-sample"
    if ours.std is None or max(ours.std, theirs[0] if theirs else 0.0) < ROUNDING:
        return Comparison(difference, None, None)
    if theirs:
        both = (mean + difference, ours.std, ours.n, mean, *theirs)
        p_value = scipy.stats.ttest_ind_from_stats(*both, equal_var=False).pvalue
    else:
        p_value = scipy.stats.ttest_1samp(values, mean).pvalue
    return Comparison(difference, test, float(p_value), seeds_needed=seeds_needed(difference, ours.std, theirs))


def paired_difference(values: Mapping[int, float], reference: Mapping[int, float]) -> Paired | None:
    """Return the numbers of one cell by seed against those of another; None if no seed is in both.

    Seeds pair runs because they share initial weights, batch order and crops, so what differs is the method.
    """
    differences = [value - reference[seed] for seed, value in values.items() if seed in reference]
    if not differences:
        return None
    summary = summarise(differences)
    exact, least = sign_flip_test(differences) if len(differences) > 1 else (None, None)
    test = compare_means(differences, 0.0, None, None)
    tested = summary if test.test else replace(summary, ci95=None)
    return Paired(tested, test.p_value, exact, least, seeds_needed=test.seeds_needed)


def sign_flip_test(differences: Sequence[float]) -> tuple[float, float]:
    """Return the two-sided p-value of paired ``differences`` (two or more), and the least that their number can give.

    If the methods are equal, each difference is as likely to have the other sign. p is twice the share of the sign
    patterns whose sum is as extreme as the observed one; it assumes no distribution.
    """
    units = np.rint(np.array(differences) / ROUNDING)  # whole numbers, whose sums are exact: equal ones are ties
    flipped = scipy.stats.permutation_test(
        (units,),
        lambda values, axis: np.sum(values, axis=axis),
        permutation_type="samples",
        n_resamples=MOST_FLIPS,
        vectorized=True,
        rng=0,
    )
    return float(flipped.pvalue), 2 / min(2 ** len(differences), MOST_FLIPS + 1)


def seeds_needed(difference: float, std: float, theirs: tuple[float, int] | None = None) -> int | None:
    """Return the number of runs at which a ``difference`` of that size would be found at 5% with a power of 80%.

    ``std`` is that of our runs, or of paired differences; ``theirs`` are the printed standard deviation and n of
    Welch's test, which more runs of ours do not change. None where more than `MOST_SEEDS` would be needed, and for no
    difference. The power is that of a two-sided t-test, from the noncentral t distribution.
    """
    if abs(difference) < ROUNDING:
        return None
    low, high = 1, 2
    while _power(difference, std, high, theirs) < POWER:
        low, high = high, 2 * high
        if low >= MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if _power(difference, std, middle, theirs) < POWER:
            low = middle
        else:
            high = middle
    return high if high <= MOST_SEEDS else None


def detectable_difference(std: float, n: int) -> float:
    """Return the least difference that ``n`` runs (two or more) find at 5% with a power of 80%; see `seeds_needed`."""
    low, high = 0.0, std
    while _power(high, std, n, None) < POWER:
        low, high = high, 2 * high
    while high - low > 1e-4 * std:
        middle = (low + high) / 2
        low, high = (middle, high) if _power(middle, std, n, None) < POWER else (low, middle)
    return high


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return p-values corrected for their number, in the same order; None, which is no test, stays None.

    Holm 1979, which controls the familywise error.
    """
    known = sorted((p_value, index) for index, p_value in enumerate(p_values) if p_value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for position, (p_value, index) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - position) * p_value))
        corrected[index] = largest
    return tuple(corrected)


def _power(difference: float, std: float, n: int, theirs: tuple[float, int] | None) -> float:
    """Return the probability that n runs find the difference; see `seeds_needed`."""
    ours = std**2 / n
    printed = theirs[0] ** 2 / theirs[1] if theirs else 0.0
    variance = ours + printed
    if variance == 0:
        return 1.0
    freedom = variance**2 / (ours**2 / (n - 1) + (printed**2 / (theirs[1] - 1) if theirs else 0.0))
    critical, centre = scipy.stats.t.ppf(1 - SIGNIFICANCE / 2, freedom), abs(difference) / math.sqrt(variance)
    # The square of a noncentral t has a noncentral F distribution, whose tail is known where scipy's nct gives NaN.
    return float(scipy.stats.ncf.sf(critical**2, 1, freedom, centre**2))


def _rounded(value: float) -> float:
    """Return a number without its rounding error, so that equal ones are equal, in print too; never -0."""
    return round(value, 9) + 0.0

"""The statistics of a cell: spread over seeds, and the comparison with a printed number."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

SIGNIFICANCE = 0.05
PRINTED_PRECISION = 0.005
"""Half a unit of the last printed digit: two means that are closer look the same in print."""
ROUNDING = 1e-9
"""Smaller differences are rounding errors of equal values."""

Test = Literal["Welch", "one-sample"]


@dataclass(frozen=True)
class Summary:
    """``std`` is the sample standard deviation (ddof 1), ``ci95`` the t-interval of the mean; None if n < 2.

    Of a proportion: ``mean`` in percent, no ``std``, and Wilson's interval.
    """

    n: int
    mean: float | None
    std: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Comparison:
    """``difference`` is ours minus theirs; ``test`` and two-sided ``p_value`` are None if ours is a single run."""

    difference: float
    test: Test | None
    p_value: float | None


@dataclass(frozen=True)
class Paired:
    """A cell minus a reference cell, seed by seed: the ``summary`` of the differences, and p of a paired t-test.

    ``p_value`` is two-sided and None if fewer than two seeds are in both.
    """

    summary: Summary
    p_value: float | None


def summarise(values: Sequence[float]) -> Summary:
    """Return mean and spread of one number per seed."""
    n = len(values)
    if n == 0:
        return Summary(0, None, None, None)
    mean = math.fsum(values) / n
    if n == 1:
        return Summary(1, mean, None, None)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(stats.t.ppf(0.975, n - 1)) * std / math.sqrt(n)
    return Summary(n, mean, std, (mean - half, mean + half))


def proportion(count: int, n: int) -> Summary:
    """``count`` of ``n`` in percent, with Wilson's interval, which stays within 0 and 100 and is never empty."""
    if n == 0:
        return Summary(0, None, None, None)
    interval = stats.binomtest(count, n).proportion_ci(method="wilson")
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
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(mine + theirs)
    return ours.mean - mean - half, ours.mean - mean + half


def compare(values: Sequence[float], mean: float, std: float | None, n: int | None) -> Comparison:
    """Compare one number per seed (at least one) with a printed mean, and its ``std`` and ``n`` if the paper gives
    them.

    Welch's test where both are given, a one-sample t-test otherwise. Without any spread the t statistic is infinite:
    the p-value is then its limit, 0, or 1 where the means agree in print.
    """
    ours = summarise(values)
    difference = math.fsum(values) / len(values) - mean
    if ours.std is None:
        return Comparison(difference, None, None)
    theirs = (std, n) if std is not None and n is not None and n > 1 else None
    test: Test = "Welch" if theirs else "one-sample"
    if max(ours.std, theirs[0] if theirs else 0.0) < ROUNDING:
        return Comparison(difference, test, 1.0 if abs(difference) <= PRINTED_PRECISION else 0.0)
    if theirs:
        p_value = stats.ttest_ind_from_stats(mean + difference, ours.std, ours.n, mean, *theirs, equal_var=False).pvalue
    else:
        p_value = stats.ttest_1samp(values, mean).pvalue
    return Comparison(difference, test, float(p_value))


def paired_difference(values: Mapping[int, float], reference: Mapping[int, float]) -> Paired | None:
    """Return the numbers of one cell by seed against those of another; None if no seed is in both.

    Seeds pair runs because they share initial weights, batch order and crops, so what differs is the method.
    """
    differences = [value - reference[seed] for seed, value in values.items() if seed in reference]
    if not differences:
        return None
    summary = summarise(differences)
    return Paired(summary, compare(differences, 0.0, None, None).p_value)

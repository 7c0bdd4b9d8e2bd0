"""Numbers as text: means, spreads, differences and p-values."""

from okdbench.results.cells import CellResult
from okdbench.results.stats import MOST_SEEDS, ROUNDING, SIGNIFICANCE, Comparison, Paired, Summary

DASH = "—"


def number(mean: float | None, std: float | None = None) -> str:
    """``71.20 ± 0.15``, in percent; without ± if there is no spread."""
    if mean is None:
        return DASH
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"


def spread(result: CellResult) -> str:
    """Our mean and standard deviation; a rate with its interval, ``30.0 [10.8–60.3]``."""
    if result.is_rate and result.summary.mean is not None:
        return f"{result.summary.mean:.1f} {between(result.summary, '[{:.1f}–{:.1f}]')}"
    return number(result.summary.mean, result.summary.std)


def finished_runs(result: CellResult) -> str:
    """Return the number of finished runs, with that of planned runs where some are not finished: ``3`` or ``2/3``."""
    finished = result.summary.n
    return str(finished) if finished == result.planned else f"{finished}/{result.planned}"


def difference(value: float) -> str:
    """Return a signed difference in points; zero has a plus."""
    return f"{round(value, 2) + 0.0:+.2f}"


def between(summary: Summary, form: str) -> str:
    """Return the 95% interval of a mean, in ``form``, such as ``{:.2f}–{:.2f}``."""
    return form.format(*summary.ci95) if summary.ci95 else DASH


def p_value(value: float | None) -> str:
    """Return a p-value with three decimals, ``<0.001`` or ``<0.05`` where rounding would say that it is not less."""
    if value is None:
        return DASH
    if value < 0.001:
        return "<0.001"
    return f"<{SIGNIFICANCE:g}" if value < SIGNIFICANCE <= round(value, 3) else f"{value:.3f}"


def equality(value: float) -> str:
    """Return a p-value after the letter p: ``= 0.031``, ``< 0.001``."""
    text = p_value(value)
    return f"< {text[1:]}" if text.startswith("<") else f"= {text}"


def seeds_to_decide(tested: Comparison | Paired) -> str:
    """Return how many seeds would decide the difference, ``>1000`` where more would be needed.

    A dash if it is untested, or none at all.
    """
    if tested.p_value is None or tested.p_value > 1 - ROUNDING:
        return DASH
    return f">{MOST_SEEDS}" if tested.seeds_needed is None else str(tested.seeds_needed)


def three_digits(value: float) -> str:
    """Format with three significant digits, never as a power of ten."""
    magnitude = int(f"{value:e}".partition("e")[2])
    return f"{float(f'{value:.3g}'):.{max(0, 2 - magnitude)}f}"

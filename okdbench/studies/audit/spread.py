"""Within one table: defaults beside their sweep, single runs beside known noise, and methods in two groups."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf, sqrt
from statistics import fmean

import scipy  # its parts are loaded when they are used

from okdbench.recipe import CellKey
from okdbench.studies.audit.model import AuditedTable, Finding, Number, setting_of, settings_of

LEVEL = 0.95
"""Equal networks that differ by their seeds alone stay within the noise scale in this share of cases."""
APART = 1.0
"""Points between two groups of methods; smaller gaps are common."""


def check_sweeps(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """A setting's default beside the best value of its sweep, for each data set and network."""
    for table in tables:
        sweeps: dict[tuple[str, CellKey], list[Number]] = {}
        for number in table.numbers:
            for axis, _ in number.cell.settings:
                rest = tuple(setting for setting in number.cell.settings if setting[0] != axis)
                sweeps.setdefault((axis, number.cell.key._replace(settings=rest)), []).append(number)
        for (axis, key), swept in sweeps.items():
            setting = setting_of(axis, key.method)
            default = settings_of(table.recipe, key).get(setting)
            found = next((number for number in swept if number.settings.get(setting) == default), None)
            if found and len(swept) > 1:
                yield _sweep(table, setting, key, swept, found)


def _sweep(table: AuditedTable, setting: str, key: CellKey, swept: Sequence[Number], default: Number) -> Finding:
    best = max(swept, key=lambda number: number.accuracy)
    behind = best.accuracy - default.accuracy
    rank = 1 + sum(number.accuracy > default.accuracy for number in swept)
    result = f"rank {rank} of {len(swept)}, {behind:.2f} behind the best" if rank > 1 else f"best of {len(swept)}"
    return Finding(
        "sweeps",
        (table.name,),
        f"{table.name}: {key}, {setting}",
        f"{default.reported.mean:.2f} at the default {default.settings[setting]}",
        f"best {best.reported.mean:.2f} at {best.settings[setting]}",
        result,
    )


def check_single_runs(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """The spread of single runs beside what the standard deviations known for data set and network let expect.

    The known deviations, each printed number once, are pooled (root mean square) to s. The noise scale is the range
    that k equal runs keep within in 95% of cases: s times the quantile of the studentised range, s taken as exact.
    """
    known = _known_stds(tables)
    for table in tables:
        for place, numbers in table.panels().items():
            single = [number for number in numbers if number.reported.n == 1]
            if len(single) < 2:
                continue
            spread = max(n.accuracy for n in single) - min(n.accuracy for n in single)
            stds = known.get(place, [])
            printed = f"{len(single)} single runs, {spread:.2f} between lowest and highest"
            if not stds:
                yield Finding(
                    "single-runs",
                    (table.name,),
                    f"{table.name}: {place}",
                    printed,
                    "",
                    "no repeated run to compare with",
                )
                continue
            pooled = sqrt(fmean(std**2 for std in stds))
            scale = pooled * float(scipy.stats.studentized_range.ppf(LEVEL, len(single), inf))
            yield Finding(
                "single-runs",
                (table.name,),
                f"{table.name}: {place}",
                printed,
                f"noise scale {scale:.2f} (pooled std {pooled:.2f} of {len(stds)} repeated numbers)",
                f"{'within' if spread <= scale else 'beyond'} the noise scale",
            )


def _known_stds(tables: Sequence[AuditedTable]) -> dict[str, list[float]]:
    """Return the printed standard deviations by data set and network; numbers in several tables count once."""
    found: dict[str, dict[tuple[str, str, float], float]] = {}
    for table in tables:
        for place, numbers in table.panels().items():
            for number in numbers:
                if number.reported.std is not None:
                    same = (number.method, f"{number.accuracy:.2f}", number.reported.std)
                    found.setdefault(place, {})[same] = number.reported.std
    return {place: list(stds.values()) for place, stds in found.items()}


def check_groups(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """Numbers that fall into two groups, further apart than both groups are wide together."""
    for table in tables:
        for place, numbers in table.panels().items():
            rising = sorted(numbers, key=lambda number: number.accuracy)
            gaps = [upper.accuracy - lower.accuracy for lower, upper in pairwise(rising)]
            if not gaps:
                continue
            step = max(gaps)
            cut = gaps.index(step) + 1
            low, high = rising[:cut], rising[cut:]
            width = sum(group[-1].accuracy - group[0].accuracy for group in (low, high))
            if min(len(low), len(high)) > 1 and step > max(width, APART):
                yield Finding(
                    "groups",
                    (table.name,),
                    f"{table.name}: {place}, {_methods(high)} above {_methods(low)}",
                    f"{_range(high)} and {_range(low)}",
                    "",
                    f"{step:.2f} apart",
                )


def _methods(numbers: Sequence[Number]) -> str:
    return ", ".join(" ".join([n.cell.method, *(f"{k}={v}" for k, v in n.cell.settings)]) for n in numbers)


def _range(numbers: Sequence[Number]) -> str:
    return f"{numbers[0].accuracy:.2f} to {numbers[-1].accuracy:.2f}"

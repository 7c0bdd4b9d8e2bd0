"""Which difference between two methods a number of seeds can detect, before they are trained."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from okdbench.plan import Plan
from okdbench.results.cells import evaluate_cells
from okdbench.results.stats import detectable_difference


@dataclass(frozen=True)
class SeedNoise:
    """The standard deviation, in points, between runs that differ in their seed, pooled over ``cells``.

    ``source``: our ``records``, or the ``paper``, whose printed numbers have one.
    """

    std: float
    cells: int
    source: Literal["records", "paper"]

    def detectable(self, seeds: int) -> float | None:
        """Return the least difference between two methods that a paired t-test over these seeds finds; None for one.

        With the usual 5 % and a power of 80 %. The runs of a seed are taken as independent, so that a difference has
        twice the variance; where the same initial weights and batches make them alike, less is found.
        """
        return detectable_difference(math.sqrt(2) * self.std, seeds) if seeds > 1 else None


def seed_noise(plan: Plan, results: Path) -> SeedNoise | None:
    """Return the noise in the records of the plan's cells, else in the printed numbers; None where there is neither."""
    known = [each.summary for each in evaluate_cells(plan, results) if not each.is_rate]
    measured = [(each.std, each.n) for each in known if each.std is not None]
    if measured:
        freedom = sum(n - 1 for _, n in measured)
        pooled = math.sqrt(sum((n - 1) * std**2 for std, n in measured) / freedom)
        return SeedNoise(pooled, len(measured), "records")
    printed = [cell.reported.std for cell in plan.cells if cell.reported and cell.reported.std is not None]
    if not printed:
        return None
    return SeedNoise(math.sqrt(sum(std**2 for std in printed) / len(printed)), len(printed), "paper")

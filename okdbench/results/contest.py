"""Two methods of a recipe against each other, paired by seed, on every data set and network that both have."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from okdbench.errors import UsageError
from okdbench.plan import Plan
from okdbench.results.cells import CellResult, ProtocolChoice, evaluate_cells
from okdbench.results.stats import SIGNIFICANCE, Paired, holm, paired_difference


@dataclass(frozen=True)
class Bout:
    """The first method's cell and the second's on one data set and network.

    ``paired`` is the first one's accuracy minus the second's, in points; its corrected p-value counts all bouts.
    """

    first: CellResult
    second: CellResult
    paired: Paired | None

    @property
    def sides(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The accuracies of both, on the seeds that both have."""
        first, second = self.first.by_seed_in("accuracy"), self.second.by_seed_in("accuracy")
        seeds = [seed for seed in first if seed in second]
        return tuple(first[seed] for seed in seeds), tuple(second[seed] for seed in seeds)

    @property
    def differences(self) -> tuple[float, ...]:
        """The differences of the seeds that both have."""
        return tuple(mine - theirs for mine, theirs in zip(*self.sides, strict=True))

    @property
    def decided(self) -> bool:
        """Whether the corrected t-test finds a difference."""
        p_value = self.paired.holm_p_value if self.paired else None
        return p_value is not None and p_value < SIGNIFICANCE


@dataclass(frozen=True)
class Contest:
    """All bouts, and ``overall`` the mean over their data sets and networks, seed by seed (None for a single bout)."""

    plan: Plan
    names: tuple[str, str]
    bouts: tuple[Bout, ...]
    overall: Paired | None


def hold(plan: Plan, names: tuple[str, str], results: Path, choice: ProtocolChoice = "recipe") -> Contest:
    """Compare two labels (or LABEL@READING) of a plan that has only these, from the runs under ``results``.

    Raise UsageError where a label has several cells for one network, the numbers are collapse rates, or both labels
    are one number under the protocol chosen.
    """
    cells = evaluate_cells(plan, results, choice)
    sides = [_by_place(name, [each for each in cells if each.cell.value("method", False) == name]) for name in names]
    for name, cells_of_name in zip(names, sides, strict=True):
        if not cells_of_name:
            what = f"{name} is read like the recipe's own reading under the protocol chosen"
            raise UsageError(f"{plan.recipe.name}: {what}; leave out --protocol, --head and --epoch")
    places = [place for place in sides[0] if place in sides[1]]
    if not places:
        raise UsageError(f"{plan.recipe.name}: {names[0]} and {names[1]} have no data set and network in common")
    bouts = [
        Bout(first, second, first.minus(second, "accuracy"))
        for first, second in ((sides[0][place], sides[1][place]) for place in places)
    ]
    return Contest(plan, names, _corrected(bouts), _overall(bouts))


def _by_place(name: str, results: Sequence[CellResult]) -> dict[tuple[str, str], CellResult]:
    """Return a method's cells by data set and network."""
    found: dict[tuple[str, str], CellResult] = {}
    for each in results:
        place = each.cell.dataset, each.cell.network
        if each.is_rate:
            raise UsageError(f"{name}: the recipe counts collapsed runs; take --protocol last")
        if place in found:
            axes = ", ".join(axis for axis, _ in each.cell.settings)
            raise UsageError(f"{name}: has several cells for {each.cell.network} ({axes}); name a variant of one value")
        found[place] = each
    return found


def _corrected(bouts: Sequence[Bout]) -> tuple[Bout, ...]:
    """Return the bouts with p-values corrected for their number."""
    corrected = holm([each.paired.p_value if each.paired else None for each in bouts])
    return tuple(
        replace(each, paired=each.paired and replace(each.paired, holm_p_value=p_value))
        for each, p_value in zip(bouts, corrected, strict=True)
    )


def _overall(bouts: Sequence[Bout]) -> Paired | None:
    """Return the difference of each seed's mean over all bouts, of the seeds that every bout has."""
    if len(bouts) < 2:
        return None
    pairs = [each.first for each in bouts], [each.second for each in bouts]
    sides = [[each.by_seed_in("accuracy") for each in side] for side in pairs]
    seeds = [seed for seed in sides[0][0] if all(seed in by_seed for side in sides for by_seed in side)]
    means = [{seed: sum(by_seed[seed] for by_seed in side) / len(side) for seed in seeds} for side in sides]
    return paired_difference(means[0], means[1])

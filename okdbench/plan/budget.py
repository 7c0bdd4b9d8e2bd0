"""The largest part of a recipe that is fair and can be trained in the given hours."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, combinations, product

from okdbench.errors import UsageError
from okdbench.plan.forecast import Clock, due
from okdbench.plan.jobs import Planned
from okdbench.plan.table import Plan, Run

MOST_SUBSETS = 6
"""Up to this number of networks, all their subsets are considered, beyond that the cheapest ones."""
_Place = tuple[str, str]


@dataclass(frozen=True)
class Part:
    """Some data sets and networks of a recipe with all its methods and the same seeds; ``hours`` of what is left."""

    datasets: tuple[str, ...]
    networks: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: int
    hours: float


def largest_part(plan: Plan, planned: list[Planned], hours: float, clock: Clock) -> Part:
    """Return the part with the most runs within ``hours``, one run at a time.

    A part with several seeds comes before any with one, which says nothing about differences. Where nothing fits, it
    is the part that takes the least. Raise UsageError where some method can run nowhere beside the others.
    """
    parts = list(_parts(plan, planned, clock))
    if not parts:
        raise UsageError(
            f"{plan.recipe.name}: there is no network on which all methods can run; choose methods with -m"
        )
    fitting = [part for part in parts if part.hours <= hours]
    if not fitting:
        return min(parts, key=lambda part: part.hours)
    return max(fitting, key=lambda part: (len(part.seeds) > 1, part.runs, len(part.seeds), -part.hours))


def _parts(plan: Plan, planned: list[Planned], clock: Clock) -> Iterator[Part]:
    """Yield every part that can be named with options for data sets, networks and seeds."""
    left = {each.planned.run.id: each.hours(clock).hours for each in due(planned)}
    needed = _needed(plan)
    seeds = list(dict.fromkeys(seed for _, seed in needed))
    datasets = list(dict.fromkeys(dataset for (dataset, _), _ in needed))
    networks = list(dict.fromkeys(network for (_, network), _ in needed))
    for some_datasets, some_networks in product(_subsets(datasets), _choices(networks, needed, left)):
        places = [place for place in product(some_datasets, some_networks) if any(each == place for each, _ in needed)]
        if len(places) < len(some_datasets) * len(some_networks):
            continue  # a place that cannot be trained, or is not in the grid
        for number in range(1, len(seeds) + 1):
            runs = frozenset[str]().union(
                *(needed.get((place, seed), frozenset()) for place in places for seed in seeds[:number])
            )
            spent = sum(left.get(run, 0.0) for run in runs)
            yield Part(some_datasets, some_networks, tuple(seeds[:number]), len(runs), spent)


def _needed(plan: Plan) -> dict[tuple[_Place, int], frozenset[str]]:
    """Return the runs, with those that they need, of all methods on a data set and network with one seed.

    Places where some cell cannot be trained are left out.
    """
    unfair = {(cell.dataset, cell.network) for cell in plan.cells if cell.unavailable}
    found: dict[tuple[_Place, int], set[str]] = {}
    for cell in plan.cells:
        place = (cell.dataset, cell.network)
        for run in cell.runs if place not in unfair else ():
            found.setdefault((place, run.seed), set()).update(_with_needed(run))
    return {key: frozenset(runs) for key, runs in found.items()}


def _with_needed(run: Run) -> set[str]:
    return {each.id for each in (*run.needs, run)}


def _choices(
    networks: list[str], needed: Mapping[tuple[_Place, int], frozenset[str]], left: Mapping[str, float]
) -> list[tuple[str, ...]]:
    """Return the sets of networks to consider."""
    if len(networks) <= MOST_SUBSETS:
        return _subsets(networks)

    def spent(network: str) -> float:
        runs = frozenset[str]().union(*(runs for ((_, on), _), runs in needed.items() if on == network))
        return sum(left.get(run, 0.0) for run in runs)

    cheapest = sorted(networks, key=spent)
    return [tuple(cheapest[:number]) for number in range(1, len(networks) + 1)]


def _subsets(names: list[str]) -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(names, number) for number in range(1, len(names) + 1)))

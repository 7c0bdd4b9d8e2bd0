"""What a results folder holds: the finished runs of each recipe, by what was changed in it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from okdbench import recipe
from okdbench.errors import UsageError
from okdbench.kinds import AnyPlan
from okdbench.plan import Plan, Selection, expand
from okdbench.plan.changed import changed_runs
from okdbench.recipe.header import RecipeHeader
from okdbench.runs.find import runs_below
from okdbench.runs.records import DoneRecord


@dataclass(frozen=True)
class Holding:
    """Finished runs of one recipe with the same changes.

    ``title`` is the recipe's, "" where it is not known here. ``selection`` plans these runs, and perhaps others, and is
    None for runs that no change of settings of the recipe explains; ``planned`` is how many it plans.
    """

    recipe: str
    title: str
    selection: Selection | None
    planned: int | None
    records: tuple[DoneRecord, ...]

    @property
    def hours(self) -> float:
        """How long all runs took, one after the other."""
        return sum(record.hours for record in self.records)


def holdings(results: Path) -> tuple[list[Holding], list[str]]:
    """Return what is below a results folder, by recipe, unchanged runs first, and a line for each damaged run."""
    found: dict[str, dict[str, DoneRecord]] = {}
    damaged = []
    for folder in runs_below(results):
        try:
            if record := folder.record:
                _ = folder.epochs  # must be those of the record
                found.setdefault(folder.recipe, {})[record.id] = record
        except UsageError as error:
            damaged.append(str(error))
    return [each for name, records in found.items() for each in _holdings(results / name, records)], damaged


def _holdings(folder: Path, records: Mapping[str, DoneRecord]) -> Iterable[Holding]:
    name = folder.name
    try:
        header = recipe.load(name) if name in recipe.available() else None
    except UsageError:
        header = None
    left = dict(records)
    if header:
        groups = [Selection(), Selection(smoke=True, data_present=lambda _: False), Selection(smoke=True)]
        known = {run.id for run in expand(header).runs}
        changes = [Selection(settings=group.settings) for group in changed_runs(header, folder, known)]
        for selection in (*groups, *changes):
            mine = {run.id: left.pop(run.id) for run in expand(header, selection).runs if run.id in left}
            if mine:
                narrow = _narrowed(header, selection, mine)
                yield Holding(name, header.title, narrow, len(expand(header, narrow).runs), tuple(mine.values()))
    if left:
        yield Holding(name, header.title if header else "", None, None, tuple(left.values()))


def _narrowed(header: RecipeHeader, selection: Selection, done: Mapping[str, DoneRecord]) -> Selection:
    """Return the selection without the data sets, networks, methods and seeds of which no run is done."""
    plan: AnyPlan = expand(header, selection)
    if not isinstance(plan, Plan):
        return selection
    # What other runs need, such as their teachers, comes with them.
    needed = {each.id for run in plan.runs if run.id in done for each in run.needs}
    cells = [(cell, [run for run in cell.runs if run.id in done.keys() - needed]) for cell in plan.cells]

    def kept(every: Sequence[Any], mine: Iterable[Any]) -> tuple[Any, ...]:
        some = set(mine)
        values = tuple(dict.fromkeys(value for value in every if value in some))
        return () if len(values) == len(set(every)) else values

    trained = [cell for cell, runs in cells if runs]
    return replace(
        selection,
        datasets=kept([c.dataset for c in plan.cells], [c.dataset for c in trained]),
        networks=kept([c.network for c in plan.cells], [c.network for c in trained]),
        methods=kept([str(c.method) for c in plan.cells], [str(c.method) for c in trained]),
        seeds=kept([r.seed for c in plan.cells for r in c.runs], [r.seed for _, runs in cells for r in runs]),
    )

"""Wording about a plan that run, status, report and show share."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from okdbench.cli.options import Choices, Places, command
from okdbench.errors import UsageError
from okdbench.words import count

if TYPE_CHECKING:
    from okdbench.kinds import AnyCell, AnyPlan
    from okdbench.plan.jobs import Planned
    from okdbench.plan.measured import Hours
    from okdbench.runs.records import State


class Judged(NamedTuple):
    """What is said of a recipe: its mistakes, a line each, or its size and why cells of it cannot run."""

    mistakes: str
    cells: int = 0
    runs: int = 0
    cannot_run: tuple[str, ...] = ()


def judged(recipe: str) -> Judged:
    """Return whether a recipe, by name or file, is valid; kept for the next time as long as its files stay the same."""

    def judge() -> Judged:
        from okdbench.plan import Selection, expand
        from okdbench.recipe import load

        try:
            plan = expand(load(recipe), Selection())
        except UsageError as error:
            return Judged(str(error))
        return Judged("", len(plan.cells), len(plan.runs), tuple(unavailable_reasons(plan.cells)))

    from okdbench.kept import kept
    from okdbench.recipe import content_key

    return kept("validate", content_key(recipe), Judged, judge)


def unavailable_reasons(cells: "Iterable[AnyCell]") -> list[str]:
    """Return why cells cannot run yet, one line for each reason with the number of cells that it concerns.

    A cell that the recipe leaves out, and for which no number is printed, is not missed.
    """
    reasons = Counter(cell.missing for cell in cells if cell.missing)
    return [f"{reason} ({count(number, 'cell')})" for reason, number in reasons.items()]


def runnable(plan: "AnyPlan", choices: Choices) -> Choices:
    """Return the user's choices narrowed to the cells of the plan that can run, as far as names can express that."""
    can = [cell for cell in plan.cells if not cell.unavailable]
    kept: dict[str, list[str] | None] = {}
    for field, axis in (("datasets", "dataset"), ("networks", "network"), ("methods", "method")):
        wanted = dict.fromkeys(cell.facts[axis] for cell in plan.cells if axis in cell.facts)
        names = [name for name in wanted if any(cell.facts[axis] == name for cell in can)]
        kept[field] = names if len(names) < len(wanted) else getattr(choices, field)
    return replace(choices, **kept)  # type: ignore[arg-type]


def done_elsewhere(planned: "Iterable[Planned]") -> dict[str, Path]:
    """Return runs, by id, that are not done in the recipe's own folder but in another recipe's, and that folder."""
    return {each.run.id: each.duplicate.path for each in planned if each.duplicate}


def damaged_runs(planned: "Iterable[Planned]") -> list[str]:
    """Return a line, with the remedy, for each run whose record or metrics are damaged."""
    from okdbench.runs.records import State

    damaged = [each.job for each in planned if each.state is State.damaged]
    return [f"{job.title}: damaged: {job.folder.reason}" for job in damaged]


def to_take_over(duplicates: Mapping[str, Path]) -> list[str]:
    """Return a line for each recipe in the result of `done_elsewhere`."""
    found = Counter(folder.parent.name for folder in duplicates.values())
    return [f"{count(number, 'run')} done in {recipe}: run takes them over" for recipe, number in found.items()]


def with_changed_settings(plan: "AnyPlan", places: Places, *words: str) -> list[tuple[str, str]]:
    """Return what groups of runs in the recipe's folder have other settings, and the command that shows each.

    The command is ``words``, a verb and the recipe as the user calls it, and options.
    """
    from okdbench.plan import Selection
    from okdbench.plan.changed import changed_runs

    found, folder = [], places.results / plan.recipe.name
    for group in changed_runs(plan.recipe, folder, {run.id for run in plan.runs}):
        options = Selection(settings=group.settings).options()
        shown = command(*words, *options, *places.arguments())
        found.append((f"{count(group.runs, 'run')} with changed settings", shown))
    return found


def to_show(groups: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line for each group in the result of `with_changed_settings`."""
    return [f"{what}; show with: {shown}" for what, shown in groups]


def state_counts(states: "Iterable[State]") -> str:
    """Return how many runs are in which state: ``6 finished, 2 pending``."""
    from okdbench.runs.records import State

    found = Counter(states)
    return ", ".join(f"{found[state]} {state}" for state in State if found[state]) or "none"


SOURCES = {
    "bench": "from the speed that okdbench bench has measured",
    "records": "from the speed of finished runs",
    "model": "by a model of plain eager training, since no speed is known here",
}
"""Where the hours of a `okdbench.plan.forecast.Clock` come from."""


def lasting(hours: float) -> str:
    """Return a time in words: ``3.5 hours``, ``12.0 minutes``."""
    return f"{hours:,.1f} hours" if hours >= 1 else f"{hours * 60:.1f} minutes"


SIGNS = {"~": "of the same network with another method", "≈": "of other networks"}
"""Whose speed gives hours that were not measured on this very training."""


def told_hours(hours: "Hours") -> str:
    """Return hours, with one of `SIGNS` where they were not measured on this very training."""
    sign = {"measured": "", "model": "", "other networks": "≈ "}.get(hours.basis, "~ ")
    return f"{sign}{hours.hours:.2f}"


def size(number: float) -> str:
    """Return a number of bytes: ``640 kB``, ``12 MB``, ``1.5 GB``."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}" if number < 10 * factor else f"{number / factor:,.0f} {unit}"
    return f"{number / 1e3:.0f} kB"

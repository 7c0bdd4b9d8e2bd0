"""What run, status and show say about a plan in the same words."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from okdbench.cli.options import Choices
from okdbench.cli.output import count

if TYPE_CHECKING:
    from okdbench.recipe import AnyPlan, Cell, SimulationCell
    from okdbench.results import State

STATES: tuple["State", ...] = ("finished", "diverged", "failed", "interrupted", "running", "pending")
DONE = STATES[:2]
"""States in which a record is there and nothing is left to train."""


def lacking(cells: "Iterable[Cell | SimulationCell]") -> list[str]:
    """Why cells cannot run yet, one line for each reason with the number of cells that it concerns."""
    reasons = Counter(cell.unavailable for cell in cells if cell.unavailable)
    return [f"{reason} ({count(number, 'cell')})" for reason, number in reasons.items()]


def runnable(plan: "AnyPlan", choices: Choices) -> Choices:
    """The person's choices narrowed to the cells of the plan that can run, as far as names can say that."""
    can = [cell for cell in plan.cells if not cell.unavailable]
    kept: dict[str, tuple[str, ...]] = {}
    for field, axis in (("datasets", "dataset"), ("networks", "network"), ("methods", "method")):
        wanted = dict.fromkeys(cell.facts[axis] for cell in plan.cells)
        names = tuple(name for name in wanted if any(cell.facts[axis] == name for cell in can))
        kept[field] = names if len(names) < len(wanted) else getattr(choices, field)
    return replace(choices, **kept)  # type: ignore[arg-type]


def tallied(states: Iterable["State"]) -> str:
    """How many runs are in which state: ``6 finished, 2 pending``."""
    found = Counter(states)
    return ", ".join(f"{found[state]} {state}" for state in STATES if found[state]) or "none"

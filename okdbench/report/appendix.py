"""What belongs to a report and is looked up: audit of the printed numbers, environment of the runs, commands."""

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

from okdbench.kinds import AnyPlan
from okdbench.recipe import Recipe, available, load
from okdbench.report.audit import sections
from okdbench.report.model import Choice, Listing, unique
from okdbench.results.cells import CellResult
from okdbench.results.claims import measured_numbers
from okdbench.results.protocol import HeadAndEpoch
from okdbench.runs.records import DoneRecord
from okdbench.studies.audit import audit, published, with_own_runs

FIRST = ("okdbench", "git_commit", "git_dirty", "device_name", "backend", "precision", "algorithms", "torch", "python")
"""The facts of an environment that are named first."""
NAMES = {
    "git_commit": "commit",
    "git_dirty": "commit with changes",
    "device_name": "device",
    "device": "device type",
    "algorithms": "algorithms",
    "backend_note": "note on the backend",
    "tf32_convolutions": "TF32 convolutions",
    "cuda": "CUDA",
    "cudnn": "cuDNN",
    "numpy": "NumPy",
    "torch": "PyTorch",
    "python": "Python",
}


def audited(recipe: Recipe, cells: Sequence[CellResult]) -> tuple[Listing, ...]:
    """Return the findings of the audit on a recipe, a table for each check; claims are judged on its cells, too."""
    if recipe.name in available():
        found = tuple(each for each in published() if recipe.name in each.recipes)
    else:
        found = audit((*map(load, available()), recipe), recipe.name)
    return tuple(sections(tuple(with_own_runs(found, [recipe], {recipe.name: measured_numbers(cells)}))))


def environment_listing(records: Sequence[DoneRecord]) -> Listing | None:
    """Return on what the runs were computed, a row for each fact and each of its values; None without any run."""
    if not records:
        return None
    keys = unique([*FIRST, *(key for record in records for key in record.environment)])
    rows = []
    for key in keys:
        values = Counter(_text(record.environment.get(key)) for record in records)
        rows += [(NAMES.get(key, key), value, str(count)) for value, count in values.items() if value]
    hours = sum(record.hours for record in records)
    note = f"{len(records)} finished runs, {hours:.1f} hours in all." if len(records) > 1 else ""
    return Listing("Environment", ("Fact", "Value", "runs"), tuple(rows), 1, note)


def commands(plan: AnyPlan, choice: Choice) -> tuple[str, ...]:
    """Return the commands that train the runs of the plan and print its table."""
    name = plan.recipe.name
    recipe = name if name in available() else f"{name}.yaml"
    words = [recipe, *plan.selection.options()]
    if isinstance(choice, HeadAndEpoch):
        read = {"--head": choice.head, "--epoch": choice.epoch}
    else:
        read = {"--protocol": None if choice == "recipe" else choice}
    protocol = [word for option, value in read.items() if value for word in (option, value)]
    return tuple(f"okdbench {shlex.join(command)}" for command in (["run", *words], ["report", *words, *protocol]))


def _text(value: Any) -> str:
    """Return a recorded fact in words; "" for one that says nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ({}, ""):
        return ""
    return value if isinstance(value, str) else json.dumps(value)

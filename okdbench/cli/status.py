"""``okdbench status``: where the runs of a recipe stand."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from okdbench.cli import options
from okdbench.cli.options import Choices, Places, TextOrJson, grouped
from okdbench.cli.output import count, say, say_json, say_table
from okdbench.cli.plans import done_elsewhere, state_counts, to_take_over, unavailable_reasons, with_changed_settings

if TYPE_CHECKING:
    from okdbench.kinds import AnyCell, AnyPlan, AnyRun
    from okdbench.runs.folder import RunFolder

DAMAGED = 1


@grouped
def status(
    recipe: options.RecipeName,
    choices: Choices,
    places: Places,
    format: options.FormatOption = TextOrJson.text,
) -> None:
    """Show which runs of a recipe are done, under way, failed or pending.

    Runs with changed settings appear when the options are the same as those of
    run.

    Examples:
      okdbench status quickstart
      okdbench status dkel-table1 -d cifar100 -m dkel
      okdbench status quickstart --format json
    """
    from okdbench.plan.jobs import plan_jobs
    from okdbench.runs.folder import RunFolder
    from okdbench.runs.records import State

    plan = choices.recorded_plan(recipe, places)
    folder = places.results / plan.recipe.name
    duplicates = done_elsewhere(plan_jobs(plan, places.results))
    runs = {run.id: _run(run, RunFolder(folder / run.config.folder), duplicates.get(run.id)) for run in plan.runs}
    states = [facts["state"] for facts in runs.values()]
    if format is TextOrJson.json:
        cells = [_cell(cell, runs) for cell in plan.cells]
        counts = Counter(states)
        facts = {"recipe": plan.recipe.name, "folder": folder, "counts": counts, "cells": cells, "runs": runs}
        say_json("okdbench.status/1", facts)
    else:
        changed = with_changed_settings(plan, places, "status", recipe)
        _print(plan, folder, runs, [*to_take_over(duplicates), *changed])
    if State.damaged in states:
        raise typer.Exit(DAMAGED)


def _print(plan: "AnyPlan", folder: Path, runs: dict[str, dict[str, Any]], more: Sequence[str]) -> None:
    """Print the states as a table, and why runs have no number; ``more`` are lines on runs of other recipes."""
    from okdbench.runs.folder import RunFolder

    names, seeds, rows = _table(plan, runs)
    say_table([*names, *seeds], rows, keys=names)
    say(f"{count(len(runs), 'run')} in {folder}: {state_counts(facts['state'] for facts in runs.values())}")
    for line in more:
        say(line)
    for facts in runs.values():
        if facts["reason"]:
            say(f"  {facts['title']}: {facts['state']}: {facts['reason']}; log: {RunFolder(facts['folder']).log}")
    missing = unavailable_reasons(plan.cells)
    if missing:
        say("cannot run yet:")
    for reason in missing:
        say(f"  {reason}")


def _cell(cell: "AnyCell", runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a cell as the JSON output has it; its runs by their id."""
    return {
        **cell.facts,
        "changed": cell.changed,
        "unavailable": cell.unavailable,
        "counts": Counter(runs[run.id]["state"] for run in cell.runs),
        "runs": [run.id for run in cell.runs],
    }


def _run(run: "AnyRun", folder: "RunFolder", duplicate: Path | None) -> dict[str, Any]:
    """Return a run with its state, number of epochs, reason of failure, and other folder where it is done."""
    from okdbench.runs.records import State

    state = folder.state
    return {
        "title": run.title,
        "seed": run.seed,
        "state": state,
        "epochs_done": run.config.epochs if state is State.finished else folder.epochs_done,
        "epochs": run.config.epochs,
        "reason": folder.reason if state in (State.failed, State.diverged, State.damaged) else None,
        "folder": folder.path,
        "done_in": duplicate,
    }


def _table(plan: "AnyPlan", runs: dict[str, dict[str, Any]]) -> tuple[list[str], list[str], list[list[str]]]:
    """Headings and rows: a row for each cell that can run, and for teachers beside the grid; a column for each seed."""
    rows: dict[tuple[str, ...], dict[int, str]] = {}
    selected = {run.id for cell in plan.cells for run in cell.runs}
    entries = [(run, run.names) for cell in plan.cells for run in cell.runs]
    entries += [(run, {**run.names, "settings": "(teacher)"}) for run in plan.runs if run.id not in selected]
    for run, names in entries:
        rows.setdefault(tuple(names.values()), {})[run.seed] = _state(runs[run.id])
    seeds = sorted({seed for states in rows.values() for seed in states})
    rows_by_name = [[*each, *(states.get(seed, "") for seed in seeds)] for each, states in rows.items()]
    return list(entries[0][1] if entries else ()), [f"seed {seed}" for seed in seeds], rows_by_name


def _state(facts: dict[str, Any]) -> str:
    """Return a run's state in the table, with its epochs if it has started and is not done."""
    if facts["state"] in ("finished", "diverged", "pending", "damaged"):
        return str(facts["state"])
    return f"{facts['state']} {facts['epochs_done']}/{facts['epochs']}"

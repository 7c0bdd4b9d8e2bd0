"""``okdbench status``: where the runs of a recipe, or of all recipes, stand."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from okdbench.cli import options
from okdbench.cli.options import Choices, Places, TextOrJson, command, grouped
from okdbench.cli.output import duration, say, say_json, say_table, verbosity
from okdbench.cli.plans import (
    done_elsewhere,
    state_counts,
    to_show,
    to_take_over,
    unavailable_reasons,
    with_changed_settings,
)
from okdbench.errors import UsageError
from okdbench.progress import tracked
from okdbench.words import count

if TYPE_CHECKING:
    from okdbench.kinds import AnyCell, AnyPlan, AnyRun
    from okdbench.runs.records import State
    from okdbench.runs.status import RunStatus

DAMAGED = 1

SomeRecipe = Annotated[
    str | None, options.one_recipe("A recipe's name or the path of a YAML file.", "all that have runs")
]


@grouped
def status(
    choices: Choices,
    places: Places,
    recipe: SomeRecipe = None,
    format: options.FormatOption = TextOrJson.text,
) -> None:
    """Show which runs are done, under way, failed or pending.

    Without a recipe: all recipes that have runs in the results folder. With
    -v every run has a line of its own, with accuracy, speed and time left.
    Only files are read. Runs with changed settings appear when the options are
    the same as those of run.

    Examples:
      okdbench status
      okdbench status quickstart -v
      okdbench status dkel-table1 -d cifar100 -m dkel
      okdbench status quickstart --format json
    """
    from okdbench.runs.records import State

    if recipe is None:
        if choices != Choices():
            raise UsageError("options that choose a part of a recipe need the recipe's name; write it after status")
        states = _all_recipes(places, format)
    else:
        states = _one_recipe(recipe, choices, places, format)
    if State.damaged in states:
        raise typer.Exit(DAMAGED)


def _all_recipes(places: Places, format: TextOrJson) -> "list[State]":
    """Print all recipes that have runs; return the states of the runs."""
    from okdbench.runs.find import runs_below
    from okdbench.runs.hashes import kept_hashes
    from okdbench.runs.status import read_status

    folders = list(runs_below(places.results))
    with kept_hashes(*{each.path.parent for each in folders}):
        everything = [read_status(each) for each in tracked(folders, "reading runs", len(folders))]
    found: dict[str, list[RunStatus]] = {}
    for each in everything:
        found.setdefault(each.folder.recipe, []).append(each)
    states = [each.state for each in everything]
    if format is TextOrJson.json:
        facts = {
            name: {
                "counts": Counter(each.state for each in statuses),
                "runs": [each.facts() for each in statuses],
            }
            for name, statuses in found.items()
        }
        say_json("okdbench.status-of-all/1", {"results": places.results, "recipes": facts})
        return states
    if not found:
        say(f"no runs in {places.results}; a first table: {command('run', 'quickstart', *places.arguments())}")
    elif verbosity.verbose:
        _print_runs([(name, each.title, each) for name, statuses in found.items() for each in statuses])
    else:
        _print_recipes(found)
    _say_reasons(everything)
    if found and not verbosity.verbose:
        say(f"each run: {command('status', '-v', *places.arguments())}")
    return states


def _print_recipes(found: "dict[str, list[RunStatus]]") -> None:
    """Print a row for each recipe."""
    from okdbench.runs.records import State

    rows = []
    for name, statuses in found.items():
        pending = [State.pending] * _without_folder(name, statuses)
        running = [each for each in statuses if each.state.under_way]
        accuracies = [each.accuracy for each in statuses if each.state is State.finished and each.accuracy is not None]
        rows.append(
            [
                name,
                state_counts([*(each.state for each in statuses), *pending]),
                f"{min(accuracies):.2f} to {max(accuracies):.2f} %" if accuracies else "",
                _when(min((each.since for each in running if each.since), default=None)),
                _rate(sum(each.images_per_second or 0 for each in running)),
                _time_left(max((each.left for each in running if each.left is not None), default=None)),
            ]
        )
    headings = ["recipe", "runs", "accuracy", "training since", "images/s", "these need"]
    say_table(headings, rows, right=["images/s"])


def _without_folder(recipe: str, statuses: "Sequence[RunStatus]") -> int:
    """Return how many runs of the recipe as it stands have no folder; 0 for recipes that are not okdbench's."""
    from okdbench.plan import expand
    from okdbench.recipe import available, load

    if recipe not in available():
        return 0
    folders = {each.folder.path.name for each in statuses}
    return sum(run.config.folder not in folders for run in expand(load(recipe)).runs)


def _print_runs(rows: "Iterable[tuple[str, str, RunStatus]]") -> None:
    """Print a row for each run; the first text of each is its recipe, or empty, the second what it is called."""
    table = [
        [
            recipe,
            title,
            _with_silence(status),
            _when(status.since),
            status.host or "",
            "" if status.epochs is None else f"{status.epochs_done}/{status.epochs}",
            "" if status.accuracy is None else f"{status.accuracy:.2f} %",
            status.head or "",
            _rate(status.images_per_second),
            _time_left(status.left),
        ]
        for recipe, title, status in rows
    ]
    headings = ["recipe", "run", "state", "since", "host", "epochs", "accuracy", "head", "images/s", "left"]
    say_table(headings, table, right=["epochs", "accuracy", "images/s"], keys=["recipe", "run"])


def _with_silence(status: "RunStatus") -> str:
    """Return the state, with the time since the last step where that was long ago."""
    from okdbench.runs.status import SILENCE

    silent = status.idle is not None and status.idle > SILENCE
    return f"{status.state}, no step for {duration(status.idle or 0)}" if silent else str(status.state)


def _say_reasons(statuses: "Iterable[RunStatus]") -> None:
    for status in statuses:
        if status.reason:
            say(f"  {status.title}: {status.state}: {status.reason}; log: {status.folder.log}")


def _one_recipe(recipe: str, choices: Choices, places: Places, format: TextOrJson) -> "list[State]":
    """Print the runs of one recipe; return their states."""
    from okdbench.plan.jobs import plan_jobs
    from okdbench.runs.folder import RunFolder
    from okdbench.runs.status import read_status

    plan = choices.recorded_plan(recipe, places)
    folder = places.results / plan.recipe.name
    duplicates = done_elsewhere(plan_jobs(plan, places.results))
    runs = {run.id: read_status(RunFolder(folder / run.config.folder)) for run in plan.runs}
    if format is TextOrJson.json:
        shown = {run.id: _run(run, runs[run.id], duplicates.get(run.id)) for run in plan.runs}
        cells = [_cell(cell, runs) for cell in plan.cells]
        counts = Counter(each.state for each in runs.values())
        facts = {"recipe": plan.recipe.name, "folder": folder, "counts": counts, "cells": cells, "runs": shown}
        say_json("okdbench.status/1", facts)
    else:
        changed = to_show(with_changed_settings(plan, places, "status", recipe))
        _print(plan, folder, runs, [*to_take_over(duplicates), *changed])
    return [each.state for each in runs.values()]


def _print(plan: "AnyPlan", folder: Path, runs: "dict[str, RunStatus]", more: Sequence[str]) -> None:
    """Print the states as a table, and why runs have no number; ``more`` are lines on runs of other recipes."""

    titles = {run.id: " ".join([*filter(None, run.names.values()), f"s{run.seed}"]) for run in plan.runs}
    if verbosity.verbose:
        _print_runs([("", titles[id], each) for id, each in runs.items()])
    else:
        names, seeds, rows = _table(plan, runs)
        say_table([*names, *seeds], rows, keys=names)
        if any("%" in text for row in rows for text in row):
            say("%: top-1 accuracy on the test images after the last epoch, of the head that the method deploys")
    say(f"{count(len(runs), 'run')} in {folder}: {state_counts(each.state for each in runs.values())}")
    if not verbosity.verbose and (running := {id: each for id, each in runs.items() if each.state.under_way}):
        say("in training:")
        _print_runs([("", titles[id], each) for id, each in running.items()])
    for line in more:
        say(line)
    _say_reasons(runs.values())
    missing = unavailable_reasons(plan.cells)
    if missing:
        say("cannot run yet:")
    for reason in missing:
        say(f"  {reason}")


def _cell(cell: "AnyCell", runs: "dict[str, RunStatus]") -> dict[str, Any]:
    """Return a cell as the JSON output has it; its runs by their id."""
    return {
        **cell.facts,
        "changed": cell.changed,
        "unavailable": cell.unavailable,
        "counts": Counter(runs[run.id].state for run in cell.runs),
        "runs": [run.id for run in cell.runs],
    }


def _run(run: "AnyRun", status: "RunStatus", duplicate: Path | None) -> dict[str, Any]:
    """Return a run as the JSON output has it, with the other folder in which it is done."""
    facts = {**status.facts(), "title": run.title, "seed": run.seed, "done_in": duplicate}
    return {**facts, "epochs": run.config.epochs}


def _table(plan: "AnyPlan", runs: "dict[str, RunStatus]") -> tuple[list[str], list[str], list[list[str]]]:
    """Headings and rows: a row for each cell that can run, and for what their runs need; a column for each seed."""
    rows: dict[tuple[str, ...], dict[int, str]] = {}
    selected = {run.id for cell in plan.cells for run in cell.runs}
    entries = [(run, run.names) for cell in plan.cells for run in cell.runs]
    users = {name: run for cell in plan.cells for run in cell.runs for name in run.config.after}
    for run in (each for each in plan.runs if each.id not in selected):
        user = users.get(run.config.folder, run)
        entries.append((run, {**run.names, "settings": f"({user.config.needed_as})"}))
    for run, names in entries:
        rows.setdefault(tuple(names.values()), {})[run.seed] = _state(runs[run.id], run.config.epochs)
    seeds = sorted({seed for states in rows.values() for seed in states})
    rows_by_name = [[*each, *(states.get(seed, "") for seed in seeds)] for each, states in rows.items()]
    return list(entries[0][1] if entries else ()), [f"seed {seed}" for seed in seeds], rows_by_name


def _state(status: "RunStatus", epochs: int) -> str:
    """Return a run's state in the table: its accuracy if it is finished, its epochs if it has started."""
    if status.state == "finished" and status.accuracy is not None:
        return f"{status.accuracy:.2f} %"
    if status.state in ("finished", "diverged", "pending", "damaged"):
        return str(status.state)
    return f"{status.state} {status.epochs_done}/{epochs}"


def _when(seconds: float | None) -> str:
    """Return the time of day, with the date if that is another day."""
    if seconds is None:
        return ""
    then, now = time.localtime(seconds), time.localtime()
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%d %b %H:%M", then)


def _rate(images_per_second: float | None) -> str:
    return f"{images_per_second:,.0f}" if images_per_second else ""


def _time_left(seconds: float | None) -> str:
    return "" if seconds is None else f"about {duration(seconds)}"

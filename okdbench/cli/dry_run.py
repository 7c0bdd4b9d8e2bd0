"""What ``okdbench run --dry-run`` prints: the runs in their order, what they wait for, their hours and their disk."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from okdbench.cli.options import Places, TextOrJson, command, data_arguments, results_arguments
from okdbench.cli.output import say, say_json, say_table, say_wrapped
from okdbench.cli.plans import SIGNS, SOURCES, lasting, size, state_counts, told_hours
from okdbench.words import count

if TYPE_CHECKING:
    from okdbench.plan.forecast import Clock, Due
    from okdbench.plan.jobs import Planned


def say_plan(recipe: str, planned: Sequence["Planned"], places: Places, at_once: int, format: TextOrJson) -> None:
    """Print what `run` without ``--dry-run`` would find and do; ``at_once`` runs are trained at the same time."""
    if format is TextOrJson.json:
        say_json("okdbench.run/1", {"recipe": recipe, **_facts(planned, places, at_once)})
    else:
        _print(planned, places, at_once)


def _print(planned: Sequence["Planned"], places: Places, at_once: int) -> None:
    """Print the runs, and what they need."""
    from okdbench.plan.forecast import clocks, due

    left = due(planned)
    known = clocks(places.results) if left else []
    _print_runs(planned, {each.planned.run.id: each for each in left}, known[:1])
    todo = [each.job.config.verb for each in planned if each.todo]
    taken = Counter(each.duplicate.recipe for each in planned if each.duplicate)
    parts = [f"{number} to take over from {recipe}" for recipe, number in taken.items()]
    parts += [f"{len(todo)} to {todo[0]}, in this order"] if todo else []
    what = ", ".join(parts) or "nothing to do"
    say(f"{count(len(planned), 'run')}: {state_counts(each.state for each in planned)}; {what}")
    if left:
        _say_hours(left, known, places)
        _say_disk(left, places, at_once)
        _say_images(planned, places)


def _facts(planned: Sequence["Planned"], places: Places, at_once: int) -> dict[str, Any]:
    """Return the same for programs."""
    from okdbench.plan.forecast import clocks, due
    from okdbench.plan.jobs import absent_images

    left = due(planned)
    known = clocks(places.results) if left else []
    mine = {each.planned.run.id: each for each in left}
    return {
        "counts": Counter(each.state for each in planned),
        "runs": [_run(each, mine.get(each.run.id), known, _by_folder(planned)) for each in planned],
        "totals": [_total(clock, left) for clock in known],
        "disk": _disk(left, places, at_once) if left else None,
        "absent_images": absent_images(planned, places.data),
    }


def _run(each: "Planned", left: "Due | None", known: Sequence["Clock"], ids: Mapping[str, str]) -> dict[str, Any]:
    run = each.run
    return {
        "id": run.id,
        "title": run.title,
        "folder": each.job.folder.path,
        "state": each.state,
        "todo": each.todo,
        "done_in": each.duplicate.path if each.duplicate else None,
        "seed": run.seed,
        "epochs": run.config.epochs,
        "teachers": [ids[name] for name in run.config.after if name in ids],
        "petaflop": left.petaflop if left else 0.0,
        "device_hours": {clock.device: asdict(left.hours(clock)) for clock in known} if left else {},
    }


def _by_folder(planned: Sequence["Planned"]) -> dict[str, str]:
    """Return the ids of the runs by the names of their folders, by which a run names its teachers."""
    return {each.run.config.folder: each.run.id for each in planned}


def _total(clock: "Clock", left: Sequence["Due"]) -> dict[str, Any]:
    hours = [each.hours(clock) for each in left]
    total = sum(each.hours for each in hours)
    bases = Counter(each.basis for each in hours)
    return {"device": clock.device, "source": clock.source, "hours": total, "bases": bases}


def _disk(left: Sequence["Due"], places: Places, at_once: int) -> dict[str, int]:
    """Return bytes: what the runs need, and what is free."""
    from okdbench.plan.forecast import disk

    folder = places.results.absolute()
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    return {**asdict(disk(left, places.data, at_once)), "free": free}


def _print_runs(planned: Sequence["Planned"], left: Mapping[str, "Due"], known: Sequence["Clock"]) -> None:
    """Print a row for each run; ``known`` is the clock of its hours, if there is one."""
    folders = _by_folder(planned)
    total = sum(each.petaflop for each in left.values())
    modelled = any(clock.source == "model" for clock in known)
    rows = []
    for each in planned:
        run, mine = each.run, left.get(each.run.id)
        rows.append(
            {
                "id": run.id,
                "state": each.state,
                "done in": each.duplicate.recipe if each.duplicate else "",
                **run.names,
                "seed": str(run.seed),
                "epochs": str(run.config.epochs),
                "after": ", ".join(folders[name] for name in run.config.after if name in folders),
                "hours": "".join(told_hours(mine.hours(clock)) for clock in known) if mine else "",
                "share": f"{mine.petaflop / total:.0%}" if mine and modelled else "",
            }
        )
    if rows:
        numbers = ["seed", "epochs", "hours", "share"]
        say_table(list(rows[0]), [list(row.values()) for row in rows], right=numbers, keys=["id"])


def _say_hours(left: Sequence["Due"], known: Sequence["Clock"], places: Places) -> None:
    for clock in known:
        total = sum(each.hours(clock).hours for each in left)
        say_wrapped(f"on {clock.device}: about {lasting(total)}, one run at a time, {SOURCES[clock.source]}")
        begins = {told_hours(each.hours(clock))[0] for each in left}
        if used := [f"{sign} from the speed {whose}" for sign, whose in SIGNS.items() if sign in begins]:
            say_wrapped(f"{', '.join(used)}, in proportion to the arithmetic")
    if any(clock.source == "model" for clock in known):
        config = left[0].cost.config.source
        what = ["-d", config.dataset, "-n", config.network, "-m", config.method, *results_arguments(places.results)]
        say_wrapped(f"share: part of the arithmetic of all; to know the hours here, measure: {command('bench', *what)}")


def _say_disk(left: Sequence["Due"], places: Places, at_once: int) -> None:
    need = _disk(left, places, at_once)
    parts = [f"{size(need['stored'])} for results, {size(need['working'])} more while training"]
    parts += [f"{size(need['images'])} for packed images"] if need["images"] else []
    say_wrapped(f"disk: {', '.join(parts)}; {size(need['free'])} free in {places.results}")


def _say_images(planned: Sequence["Planned"], places: Places) -> None:
    """Say which images are not here, where `run` would stop."""
    from okdbench import data
    from okdbench.plan.jobs import absent_images

    if not (absent := absent_images(planned, places.data)):
        return
    said = f"images: {', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not in {places.data}"
    fetched = [name for name in absent if data.get(name).fetch]
    how = f"; fetch them: {command('data', 'fetch', *fetched, *data_arguments(places.data))}" if fetched else ""
    say_wrapped(said + how, style="yellow")

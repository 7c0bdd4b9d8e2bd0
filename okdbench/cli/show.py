"""``okdbench show``: what a recipe is."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from okdbench.cli import options
from okdbench.cli.options import Format
from okdbench.cli.output import count, say, say_fields, say_json, say_table
from okdbench.cli.plans import unavailable_reasons
from okdbench.errors import UsageError

if TYPE_CHECKING:
    from okdbench.plan import AnyPlan, Cell, Plan, Run, SimulationCell, SimulationPlan, SimulationRun
    from okdbench.recipe import AnyRecipe, Recipe

Resolved = Annotated[bool, typer.Option("--resolved", help="Every run's resolved configuration and id.")]
Cost = Annotated[bool, typer.Option("--cost", help="Parameters, MACs for each image, and cost of a step, by cell.")]


def show(
    recipe: options.RecipeName,
    resolved: Resolved = False,
    cost: Cost = False,
    results: options.ResultsOption = options.DEFAULT_RESULTS,
    format: options.FormatOption = Format.text,
) -> None:
    """Show what a recipe trains and compares, and what cannot run yet.

    Nothing is trained. --cost also tells the hours on every device whose speed
    okdbench bench has measured into the results folder.

    Examples:
      okdbench show dkel-table1
      okdbench show quickstart --resolved
      okdbench show dkel-table1 --cost --format json
    """
    from okdbench.plan import expand
    from okdbench.recipe import find, load

    plan = expand(load(recipe))
    if format is Format.json:
        facts = _facts(plan) | {"path": find(recipe)}
        facts |= {"resolved": [_resolved(run) for run in plan.runs]} if resolved else {}
        facts |= {"cost": _costs(plan, results)} if cost else {}
        say_json(facts)
        return
    _describe(plan, find(recipe))
    if resolved:
        _print_resolved(plan)
    if cost:
        _print_cost(plan, results)


def _facts(plan: "AnyPlan") -> dict[str, Any]:
    """The recipe as data, with its cells."""
    cells = [{**_cell(cell), "runs": [run.id for run in cell.runs]} for cell in plan.cells]
    recipe = plan.recipe.model_dump(mode="json", by_alias=True, exclude={"reported"})
    return {"name": plan.recipe.name, **recipe, "cells": cells}


def _cell(cell: "Cell | SimulationCell") -> dict[str, Any]:
    """A cell as data, without its runs."""
    from okdbench.plan import SimulationCell

    if isinstance(cell, SimulationCell):
        return cell.facts
    return {
        **cell.facts,
        "protocol": cell.protocol.model_dump(mode="json"),
        "reported": asdict(cell.reported) if cell.reported else None,
        "unavailable": cell.unavailable,
    }


def _resolved(run: "Run | SimulationRun") -> dict[str, Any]:
    """A run's id and whole configuration, defaults of the method included."""
    from okdbench.methods import get
    from okdbench.plan import SimulationRun

    config = run.config.model_dump(mode="json")
    if isinstance(run, SimulationRun):
        return {"id": run.id, "folder": run.config.folder, **config}
    config["settings"] = get(run.config.method).Config(**run.config.settings).model_dump(mode="json")
    return {"id": run.id, "folder": run.config.folder, "label": run.cell.method, **config}


def _describe(plan: "AnyPlan", path: Path) -> None:
    """What the file says, without its numbers."""
    from okdbench.plan import SimulationPlan

    recipe = plan.recipe
    say(f"{recipe.name}: {recipe.title}", style="bold")
    lines = [("file", str(path)), *_source(recipe)]
    lines += _readings(plan) if isinstance(plan, SimulationPlan) else [*_table(plan.recipe), *_size(plan)]
    lines += [("notes" if index == 0 else "", line) for index, line in enumerate(recipe.notes.splitlines())]
    say_fields(lines)


def _source(recipe: "AnyRecipe") -> list[tuple[str, str]]:
    """The paper, and where to find it."""
    source = recipe.source
    if not source:
        return []
    paper = ", ".join(filter(None, [source.authors, source.paper, str(source.year), source.table]))
    links = [f"arXiv:{source.arxiv}" if source.arxiv else "", f"doi:{source.doi}" if source.doi else "", source.url]
    return [("source", paper), *(("", link) for link in links if link)]


def _readings(plan: "SimulationPlan") -> list[tuple[str, str]]:
    """What is simulated, and what the paper says of it."""
    readings = [
        (name, _assignments({key: getattr(reading, key) for key in sorted(reading.model_fields_set)}))
        for name, reading in plan.recipe.readings.items()
    ]
    lines = [("reading", f"{name}: {settings or 'all settings at their defaults'}") for name, settings in readings]
    lines += [("claim", statement) for statement in plan.recipe.claims.values()]
    return [*lines, ("size", f"{count(len(plan.runs), 'simulation')}, one for each reading")]


def _table(recipe: "Recipe") -> list[tuple[str, str]]:
    """The grid and the settings of a table."""
    lines = [(axis, ", ".join(map(str, values))) for axis, values in recipe.grid.axes.items()]
    lines += [("seeds", ", ".join(map(str, recipe.seeds))), *_training(recipe)]
    for override in recipe.overrides:
        when = "; ".join(f"{axis} {', '.join(names)}" for axis, names in override.when.model_dump().items() if names)
        lines.append(("set", f"{_assignments(override.set)}{f' (for {when})' if when else ''}"))
    lines += [("variant", f"{label}: {_assignments(variant)}") for label, variant in recipe.variants.items() if variant]
    for name, teacher in recipe.teachers.items():
        lines.append(("teacher", f"of {name}: {teacher.network} {teacher.method}, seed {teacher.seed}"))
    for name, protocol in recipe.protocol.items():
        what = f"head {protocol.head}, epoch {protocol.epoch}" if protocol.statistic == "mean" else protocol.statistic
        lines.append(("protocol", f"{name}: {what}"))
    if recipe.figure:
        lines.append(("figure", _assignments({k: v for k, v in recipe.figure.model_dump(mode="json").items() if v})))
    return lines


def _training(recipe: "Recipe") -> list[tuple[str, str]]:
    """The training and data settings, one line each."""
    training = recipe.training
    optimizer, schedule = (
        _assignments(part.model_dump(mode="json")) for part in (training.optimizer, training.schedule)
    )
    return [
        ("training", f"{training.epochs} epochs, batches of {training.batch_size}"),
        ("optimizer", optimizer),
        ("schedule", schedule),
        *([("average", f"HEAD@ema: {_assignments(training.ema.model_dump(mode='json'))}")] if training.ema else []),
        ("data", _assignments(recipe.data.model_dump(mode="json", exclude_none=True))),
    ]


def _size(plan: "Plan") -> list[tuple[str, str]]:
    """How big it is, which numbers the paper prints, and what cannot run yet."""
    numbers = [cell.reported for cell in plan.cells if cell.reported]
    lines = [("size", f"{count(len(plan.cells), 'cell')}, {count(len(plan.runs), 'run')} can be trained now")]
    if numbers:
        with_spread = sum(number.std is not None for number in numbers)
        metrics = " and ".join(dict.fromkeys(number.metric for number in numbers))
        lines.append(
            (
                "reported",
                f"{count(len(numbers), 'number')} ({metrics} in percent), {with_spread} with a standard deviation",
            )
        )
        lines.append(("margin", f"a mean within {plan.recipe.margin} points of the reported one counts as reproduced"))
    missing = unavailable_reasons(plan.cells)
    return lines + [("cannot run yet" if index == 0 else "", reason) for index, reason in enumerate(missing)]


def _print_resolved(plan: "AnyPlan") -> None:
    """Every run's configuration as YAML."""
    import yaml

    for run in plan.runs:
        say(f"\n# {run.title}", style="bold")
        say(yaml.safe_dump(_resolved(run), sort_keys=False, default_flow_style=None, width=100).rstrip())


def _costs(plan: "AnyPlan", results: Path) -> list[dict[str, Any]]:
    """What every cell that can run costs; UsageError for a simulation."""
    from okdbench.plan import SimulationPlan
    from okdbench.plan.cost import estimate
    from okdbench.plan.measured import hours, speeds

    if isinstance(plan, SimulationPlan):
        raise UsageError(f"--cost counts the arithmetic of networks, and {plan.recipe.name} trains none; leave it out")
    measured = speeds(results)
    return [
        {
            **cost.cell.facts,
            "parameters": cost.parameters,
            "macs": cost.macs,
            "step": cost.step,
            "petaflop": cost.petaflop,
            "gpu_hours": cost.gpu_hours,
            "device_hours": {device: asdict(hours(cost, each)) for device, each in measured.items()},
            "runs": len(cost.cell.runs),
        }
        for cost in estimate(plan)
    ]


def _print_cost(plan: "AnyPlan", results: Path) -> None:
    """The costs as a table, with what its columns mean."""
    costs = _costs(plan, results)
    devices = list(costs[0]["device_hours"]) if costs else []
    rows = []
    for cost in costs:
        settings = " ".join(f"{axis.partition('.')[2]}={value}" for axis, value in cost["settings"].items())
        numbers = [f"{cost['parameters'] / 1e6:.2f}", f"{cost['macs'] / 1e6:.1f}", f"{cost['step']:.2f}"]
        names = [cost["dataset"], cost["trained"], cost["method"], settings]
        hours = [_hours(cost["device_hours"][device]) for device in devices]
        rows.append(
            [*names, *numbers, str(cost["runs"]), _petaflop(cost["petaflop"]), f"{cost['gpu_hours']:.2f}", *hours]
        )
    say()
    headings = ["parameters (M)", "MACs (M)", "step", "runs", "PFLOP", "GPU hours", *(f"on {d}" for d in devices)]
    say_table(["data set", "network", "method", "settings", *headings], rows, right=headings)
    say("parameters: all that the method trains, in millions")
    say("MACs: one forward pass of one plain network over one image, in millions; of a pair the mean of both")
    say("step: arithmetic of one training step (episodes shared out), relative to training the plain network")
    say(f"PFLOP: all runs of the cell with evaluation; {_petaflop(sum(cost['petaflop'] for cost in costs))} in total")
    modelled = sum(cost["gpu_hours"] for cost in costs)
    say(
        f"GPU hours: {modelled:,.0f} in total; a model of plain eager training on one H200, not a measurement: a step "
        "takes 13 µs to launch each operation forward, 9 µs backward and 2.5 ms besides, or its arithmetic at 35 % of "
        "790 TFLOP/s where that is longer"
    )
    for device in devices:
        measured = sum(cost["device_hours"][device]["hours"] for cost in costs)
        say(
            f"on {device}: {measured:,.0f} hours in total, from speed measured there: of just this training, or (~) of "
            "the same network with another method, or (≈) of other networks, in proportion to the arithmetic"
        )


def _hours(hours: Mapping[str, Any]) -> str:
    """With a sign where they are not of just this training."""
    sign = {"measured": "", "other networks": "≈ "}.get(hours["basis"], "~ ")
    return f"{sign}{hours['hours']:.2f}"


def _petaflop(value: float) -> str:
    """From thousandths to thousands, each with the digits that matter."""
    return f"{value:,.1f}" if value >= 1 else f"{value:.2g}"


def _assignments(values: Mapping[str, Any]) -> str:
    """``lr=0.1, momentum=0.9``."""
    return ", ".join(f"{key}={value}" for key, value in values.items())

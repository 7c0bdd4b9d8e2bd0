"""``okdbench show``: a recipe's cells, settings, sources and costs."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from okdbench.cli import options
from okdbench.cli.options import Choices, Places, TextOrJson, grouped
from okdbench.cli.output import say, say_fields, say_json, say_table, say_wrapped
from okdbench.cli.plans import SIGNS, told_hours, unavailable_reasons
from okdbench.errors import UsageError
from okdbench.words import count

if TYPE_CHECKING:
    from okdbench.kinds import AnyPlan
    from okdbench.recipe.header import RecipeHeader

ResolvedOption = Annotated[bool, typer.Option("--resolved", help="Every run's resolved configuration and id.")]
CostOption = Annotated[
    bool, typer.Option("--cost", help="Parameters, MACs for each image, and cost of a step, by cell.")
]


@grouped
def show(
    recipe: options.RecipeName,
    choices: Choices,
    places: Places,
    resolved: ResolvedOption = False,
    cost: CostOption = False,
    format: options.FormatOption = TextOrJson.text,
) -> None:
    """Show what a recipe trains and compares, and what cannot run.

    Nothing is trained. --cost includes the hours on every device for which the
    results folder has measurements of okdbench bench or finished runs; the
    options that choose a part of the recipe are those of run.

    Examples:
      okdbench show dkel-table1
      okdbench show quickstart --resolved
      okdbench show dkel-table1 --cost -d cifar100 -n resnet32 -m dkel
      okdbench show dkel-table1 --cost --format json
    """
    from okdbench.recipe import find

    path = find(recipe)
    plan = choices.plan(recipe, places.data)
    if format is TextOrJson.json:
        facts = _facts(plan) | {"path": path}
        facts |= {"resolved": [run.resolved() for run in plan.runs]} if resolved else {}
        facts |= {"cost": _costs(plan, places.results)} if cost else {}
        say_json("okdbench.show/1", facts)
        return
    _describe(plan, path)
    if resolved:
        _print_resolved(plan)
    if cost:
        _print_cost(plan, places.results)


def _facts(plan: "AnyPlan") -> dict[str, Any]:
    """Return the recipe as data, with its cells."""
    cells = [{**cell.described(), "runs": [run.id for run in cell.runs]} for cell in plan.cells]
    recipe = plan.recipe.model_dump(mode="json", by_alias=True, exclude={"reported"})
    return {"name": plan.recipe.name, **recipe, "cells": cells}


def _describe(plan: "AnyPlan", path: Path) -> None:
    """Print what the file says, without its numbers."""
    recipe = plan.recipe
    say_wrapped(f"{recipe.name}: {recipe.title}", style="bold")
    lines = [("file", str(path)), *_source(recipe), *plan.description()]
    lines.append(("size", f"{count(len(plan.cells), 'cell')}, {count(len(plan.runs), 'run')}"))
    missing = unavailable_reasons(plan.cells)
    lines += [("cannot run" if index == 0 else "", reason) for index, reason in enumerate(missing)]
    lines += [("notes" if index == 0 else "", line) for index, line in enumerate(_paragraphs(recipe.notes))]
    say_fields(lines)


def _paragraphs(notes: str) -> list[str]:
    """Return the notes with a line for each paragraph: a line of the file that ends no sentence goes on in the next."""
    found: list[str] = []
    open_sentence = False
    for line in notes.splitlines():
        if open_sentence and line.strip():
            found[-1] += f" {line.strip()}"
        else:
            found.append(line)
        open_sentence = bool(line.strip()) and not line.rstrip().endswith((".", ":"))
    return found


def _source(recipe: "RecipeHeader") -> list[tuple[str, str]]:
    """Return the paper, and where to find it."""
    source = recipe.source
    if not source:
        return []
    paper = ", ".join(filter(None, [source.authors, source.paper, str(source.year), source.table]))
    links = [f"arXiv:{source.arxiv}" if source.arxiv else "", f"doi:{source.doi}" if source.doi else "", source.url]
    return [("source", paper), *(("", link) for link in links if link)]


def _print_resolved(plan: "AnyPlan") -> None:
    """Print every run's configuration as YAML."""
    import yaml

    for run in plan.runs:
        say(f"\n# {run.title}", style="bold")
        say(yaml.safe_dump(run.resolved(), sort_keys=False, default_flow_style=None, width=100).rstrip())


def _costs(plan: "AnyPlan", results: Path) -> list[dict[str, Any]]:
    """Return what every cell that can run costs; raise UsageError if no network is trained."""
    from okdbench.plan.forecast import clocks

    costs = plan.costs()
    if not costs:
        raise UsageError(f"--cost counts the arithmetic of networks, and {plan.recipe.name} trains none; leave it out")
    known = [clock for clock in clocks(results) if clock.speeds]
    return [
        {
            **cost.cell.facts,
            "parameters": cost.parameters,
            "macs": cost.macs,
            "step": cost.step,
            "petaflop": cost.petaflop,
            "gpu_hours": cost.gpu_hours,
            "device_hours": {clock.device: asdict(clock.hours(cost)) for clock in known},
            "runs": len(cost.cell.runs),
        }
        for cost in costs
    ]


def _print_cost(plan: "AnyPlan", results: Path) -> None:
    """Print the costs as a table, and what its columns mean."""
    from okdbench.plan.measured import Hours

    costs = _costs(plan, results)
    devices = list(costs[0]["device_hours"]) if costs else []
    rows = []
    for cost in costs:
        settings = " ".join(f"{axis.partition('.')[2]}={value}" for axis, value in cost["settings"].items())
        numbers = [f"{cost['parameters'] / 1e6:.2f}", f"{cost['macs'] / 1e6:.1f}", f"{cost['step']:.2f}"]
        names = [cost["dataset"], cost["trained"], cost["method"], settings]
        hours = [told_hours(Hours(**cost["device_hours"][device])) for device in devices]
        rows.append(
            [*names, *numbers, str(cost["runs"]), _petaflop(cost["petaflop"]), f"{cost['gpu_hours']:.2f}", *hours]
        )
    say()
    headings = ["parameters (M)", "MACs (M)", "step", "runs", "PFLOP", "GPU hours", *(f"on {d}" for d in devices)]
    names = ["data set", "network", "method", "settings"]
    say_table([*names, *headings], rows, right=headings, keys=names)
    say_wrapped("parameters: all that the method trains, in millions")
    say_wrapped("MACs: one forward pass of one plain network over one image, in millions; of several the mean")
    say_wrapped(
        "step: arithmetic of one training step (meta steps included in proportion), relative to the plain network's"
    )
    say_wrapped(
        f"PFLOP: all runs of the cell with evaluation; {_petaflop(sum(cost['petaflop'] for cost in costs))} in total"
    )
    modelled = sum(cost["gpu_hours"] for cost in costs)
    say_wrapped(
        f"GPU hours: {modelled:,.1f} in total; a model of plain eager training on one H200, not a measurement: a step "
        "takes 13 µs to launch each operation forward, 9 µs backward and 2.5 ms besides, or its arithmetic at 35 % of "
        "790 TFLOP/s where that is longer"
    )
    for device in devices:
        measured = sum(cost["device_hours"][device]["hours"] for cost in costs)
        say_wrapped(
            f"on {device}: {measured:,.1f} hours in total, from the measured speed of the same training, "
            f"{' or '.join(f'({sign}) {whose}' for sign, whose in SIGNS.items())}, in proportion to the arithmetic"
        )
    read = {run.id for cell in plan.cells for run in cell.runs}
    if first := sum(run.id not in read for run in plan.runs):
        say_wrapped(f"not counted: {count(first, 'run')} that these need first; run --dry-run counts them, too")


def _petaflop(value: float) -> str:
    """Format a number from thousandths to thousands, with a suitable number of digits."""
    return f"{value:,.1f}" if value >= 1 else f"{value:.2g}"

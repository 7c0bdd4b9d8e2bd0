"""``okdbench list``: the available recipes, methods, networks and data sets."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from okdbench.cli.options import FormatOption, TextOrJson, command
from okdbench.cli.output import say, say_json, say_synthetic, say_table, say_wrapped
from okdbench.errors import UsageError


class Listed(StrEnum):
    """What can be listed."""

    recipes = "recipes"
    methods = "methods"
    networks = "networks"
    datasets = "datasets"


def list_(
    kind: Annotated[Listed | None, typer.Argument(metavar="KIND", help="One kind only.", show_default="all")] = None,
    format: FormatOption = TextOrJson.text,
) -> None:
    """List recipes, methods, networks and data sets.

    Other verbs and their options take these names.

    Examples:
      okdbench list
      okdbench list recipes
      okdbench list methods --format json
    """
    wanted = [each for each in Listed if kind in (None, each)]
    if format is TextOrJson.json:
        say_json("okdbench.list/1", {each.value: _rows(each) for each in wanted})
        return
    for each in wanted:
        if not kind:
            say(f"\n{each}", style="bold")
        if each is Listed.recipes:
            _print_recipes()
            continue
        rows = _rows(each, costs=bool(kind))
        columns = [column for column in (rows[0] if rows else ()) if column not in JSON_ONLY]
        headings = [HEADINGS.get(column, column.replace("_", " ")) for column in columns]
        numbers = [heading for heading, c in zip(headings, columns, strict=True) if c in NUMBERS]
        say_table(headings, [[_text(row[c], c) for c in columns] for row in rows], right=numbers)
        for line in LEGENDS.get(each, ()) if kind else ():
            say_wrapped(line)
        if each is Listed.datasets:
            say_synthetic()
    if not kind:
        say()
        say(f"costs of methods and networks: {command('list', 'methods')}, {command('list', 'networks')}")


def _rows(what: Listed, costs: bool = True) -> list[dict[str, Any]]:
    """Return what there is of a kind, kept for the next time where no plugin may add to it."""
    from okdbench import plugins
    from okdbench.kept import kept
    from okdbench.recipe import content_key

    key = None if plugins.exist() else f"{content_key()} {what} {costs}"
    return kept("list", key, list[dict[str, Any]], lambda: ROWS[what](costs=costs))


def _print_recipes() -> None:
    """Print names and titles by paper; only the heads of the files are read, so that it is quick."""
    from okdbench.recipe import RecipeHeader, available
    from okdbench.recipe.document import RecipeFile

    papers: dict[str, list[tuple[str, str]]] = {NO_PAPER: []}
    for name, path in available().items():
        try:
            head = RecipeHeader.of(RecipeFile(path).data)
        except (UsageError, ValueError):
            papers[NO_PAPER].append((name, f"invalid; see: {command('validate', name)}"))
            continue
        source = head.source
        paper = f"{source.paper} ({source.year})" if source else NO_PAPER
        papers.setdefault(paper, []).append((name, head.title))
    width = max(len(name) for rows in papers.values() for name, _ in rows)
    for number, (paper, rows) in enumerate(papers.items()):
        if number:
            say()
        if rows:
            say_wrapped(paper, style="bold")
        for name, title in rows:
            say_wrapped(f"  {name:<{width}}  {title}", indent=width + 4)


def _recipes(costs: bool = True) -> list[dict[str, Any]]:
    """Return every recipe on disk; one that is invalid is listed with its first mistake instead of its title."""
    from okdbench.plan import Selection, expand
    from okdbench.recipe import available, load

    rows = []
    for name, path in available().items():
        row: dict[str, Any] = {"name": name, "cells": None, "runs": None, "source": None, "title": None, "path": path}
        try:
            recipe = load(name)
            plan = expand(recipe, Selection())
        except UsageError as error:
            row["title"] = f"invalid: {str(error).splitlines()[0]}"
        else:
            source = f"{recipe.source.table}, {recipe.source.year}" if recipe.source else None
            row |= {"cells": len(plan.cells), "runs": len(plan.runs), "source": source, "title": recipe.title}
        rows.append(row)
    return rows


def _methods(costs: bool = True) -> list[dict[str, Any]]:
    """Return every method; ``cost``, if wanted, is the arithmetic of a step relative to that of plain ResNet-8."""
    from okdbench.methods import available
    from okdbench.plan.cost import relative_cost

    return [
        {
            "name": name,
            "title": kind.title or name,
            "year": kind.year,
            **({"cost": round(relative_cost(name), 2)} if costs else {}),
            "deployed": kind.deployed,
            "presets": kind.Config.presets,
            "settings": kind.Config.model_json_schema()["properties"],
            "paper": kind.paper,
        }
        for name, kind in available().items()
    ]


def _networks(costs: bool = True) -> list[dict[str, Any]]:
    """Return every network, if wanted with parameters and MACs (millions per image) at its usual size and classes."""
    from okdbench.networks import available
    from okdbench.networks.counting import count_cost

    rows: list[dict[str, Any]] = []
    for name, network in available().items():
        classes = {32: 100, 64: 200}.get(network.image_size, 1000)
        rows.append({"name": name, "title": network.title, "image_size": network.image_size})
        if costs:
            cost = count_cost(network, classes).single
            rows[-1] |= {"classes": classes, "parameters": cost.parameters, "mmacs": round(cost.macs / 1e6, 1)}
    return rows


def _datasets(costs: bool = True) -> list[dict[str, Any]]:
    from okdbench.data import available
    from okdbench.data.base import SYNTHETIC_PREFIX

    fields = ("title", "classes", "image_size", "train_size", "test_size", "origin")
    return [
        {"name": name, **{field: getattr(dataset, field) for field in fields}, "synthetic": SYNTHETIC_PREFIX + name}
        for name, dataset in available().items()
    ]


ROWS: dict[Listed, Callable[..., list[dict[str, Any]]]] = {
    Listed.recipes: _recipes,
    Listed.methods: _methods,
    Listed.networks: _networks,
    Listed.datasets: _datasets,
}
NO_PAPER = "of no paper: comparisons of our own"
JSON_ONLY = ("path", "settings", "synthetic")
"""Columns too wide or too technical for the text table."""
HEADINGS = {"mmacs": "MMAC"}
NUMBERS = {"year": "", "cost": ".2f", "image_size": "", "mmacs": ",.1f"} | dict.fromkeys(
    ("classes", "parameters", "train_size", "test_size"), ","
)
"""How the text table writes columns of numbers."""
LEGENDS = {
    Listed.methods: ("cost: arithmetic of a training step with the default settings, that of plain ResNet-8 being 1",),
    Listed.networks: ("MMAC: millions of multiply-accumulates in one forward pass over one image",),
}


def _text(value: Any, column: str) -> str:
    """Return a value as a table shows it."""
    if isinstance(value, dict | list):
        return ", ".join(map(str, value))
    return "" if value is None else format(value, NUMBERS.get(column, ""))

"""The page on JSON says what is in every output."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from commandline import Command

import okdbench as package

ROOT = Path(package.__file__).parent.parent
RESULTS = ("--results", str(ROOT / "results"))
COMMANDS = {
    "okdbench.report/1": ("report", "quickstart", *RESULTS),
    "okdbench.explanation/1": ("report", "quickstart", "--explain", "dkel", *RESULTS),
    "okdbench.tables/1": ("report", "dkel-table1", "-d", "cifar100", "--compare", "pcl-table1", *RESULTS),
    "okdbench.leaderboard/1": ("leaderboard", "-d", "digits", *RESULTS),
    "okdbench.compare/1": ("compare", "quickstart", "dkel", "dml", *RESULTS),
    "okdbench.audit/1": ("audit", "dkel-table1"),
    "okdbench.list/1": ("list",),
    "okdbench.data/1": ("data", "list"),
}


def documented() -> dict[str, dict[str, set[str]]]:
    """The keys of every object that the page describes, by schema and place."""
    found: dict[str, dict[str, set[str]]] = {}
    for section in (ROOT / "docs" / "json.md").read_text().split("\n## ")[1:]:
        if schema := re.search(r"okdbench\.\w+/\d+$", section.splitlines()[0]):
            places = found.setdefault(schema[0], {})
            for place, keys in re.findall(r"^\| `?([\w.\[\]]*)`? ?\| (.*?) \|", section, re.MULTILINE):
                if place not in ("in", "---"):
                    places.setdefault(place, set()).update(re.findall(r"`(\w+)`", keys))
    return found


def objects(value: Any, place: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every object of an output, with its place."""
    if isinstance(value, list):
        return [found for each in value for found in objects(each, f"{place}[]")]
    if not isinstance(value, dict):
        return []
    inner = (objects(each, f"{place}.{key}" if place else key) for key, each in value.items())
    return [(place, value), *(found for each in inner for found in each)]


@pytest.mark.parametrize("schema", {**COMMANDS, **documented()})
def test_the_page_names_every_key(schema: str, okdbench: Command) -> None:
    content = json.loads(okdbench(*COMMANDS[schema], "--format", "json").out, parse_constant=pytest.fail)
    assert next(iter(content.items())) == ("schema", schema)
    del content["schema"]
    places = documented()[schema]
    seen: dict[str, set[str]] = {}
    for place, each in objects(content):
        if place in places:
            seen.setdefault(place, set()).update(key for key in each if "." not in key)
    assert seen == places

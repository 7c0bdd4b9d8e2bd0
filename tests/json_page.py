"""Compares an output in JSON with docs/json.md, which says what is in every output."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pages import ROOT


def documented() -> dict[str, dict[str, set[str]]]:
    """The keys of every object that the page describes, by schema and place."""
    found: dict[str, dict[str, set[str]]] = {}
    for section in (ROOT / "docs" / "json.md").read_text().split("\n## ")[1:]:
        if schema := re.search(r"okdbench\.[\w-]+/\d+$", section.splitlines()[0]):
            places = found.setdefault(schema[0], {})
            for place, keys in re.findall(r"^\| `?([\w.*\[\]]*)`? ?\| (.*?) \|", section, re.MULTILINE):
                if place not in ("in", "---"):
                    places.setdefault(place, set()).update(re.findall(r"`(\w+)`", keys))
    return found


def require_documented(output: str, schema: str) -> None:
    """Fail unless an output has every object of its section, with the keys that are documented and no others."""
    content = json.loads(output, parse_constant=pytest.fail)
    assert next(iter(content.items())) == ("schema", schema)
    del content["schema"]
    places = documented()[schema]
    seen: dict[str, set[str]] = {}
    for place, each in _objects(content):
        if place in places:
            seen.setdefault(place, set()).update(key for key in each if "." not in key)
    assert seen == places


def _objects(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of an output, at its place and at those that have ``*`` for some of the keys."""
    if isinstance(value, list):
        for each in value:
            yield from _objects(each, f"{place}[]")
    elif isinstance(value, dict):
        yield place, value
        for key, each in value.items():
            for name in (key, "*"):
                yield from _objects(each, f"{place}.{name}" if place else name)

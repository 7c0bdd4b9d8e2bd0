"""Everything, as one JSON object for programs; docs/json.md describes what is in it."""

import json
from collections.abc import Mapping
from typing import Any

from okdbench.printable import printable_json
from okdbench.report.formats import Content, Format, Screen


def json_text(schema: str, facts: Mapping[str, Any]) -> str:
    """Return facts as one JSON object, indented by two spaces, whose first key says what it is: ``okdbench.report/2``.

    The number behind the slash changes when a key disappears or changes its meaning, not when one is added. Values that
    JSON lacks (paths) become text. Characters that a terminal would obey are escaped.
    """
    text = json.dumps({"schema": schema, **facts}, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    return printable_json(text) + "\n"


def write_facts(content: Content, screen: Screen) -> str:
    """Return the facts."""
    return json_text(content.schema, content.facts())


FORMAT = Format("json", (".json",), write_facts, pages=False)

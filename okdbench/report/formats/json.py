"""Everything, as one JSON object for programs."""

import json

from okdbench.report.formats import Content, Format, Screen


def write_json(content: Content, screen: Screen) -> str:
    """Return the facts, indented by two spaces."""
    return json.dumps(content.facts(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


FORMAT = Format("json", (".json",), write_json)

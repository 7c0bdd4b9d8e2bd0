"""Rows for a spreadsheet, under one header."""

from typing import Any

import pandas as pd

from okdbench.report.formats import Content, Format, Screen

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a text begins with that a spreadsheet would execute as a formula."""


def write_csv(content: Content, screen: Screen) -> str:
    """Return all rows; lists are joined by spaces (``changed`` by semicolons), a column that a row lacks is empty.

    Numbers have ten significant digits. A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    joined = [
        {key: _cell(value, "; " if key == "changed" else " ") for key, value in row.items()} for row in content.rows()
    ]
    return str(pd.DataFrame(joined, dtype=object).to_csv(index=False, lineterminator="\n"))


def _cell(value: Any, separator: str) -> Any:
    if isinstance(value, list):
        return separator.join(str(_cell(each, separator)) for each in value)
    if isinstance(value, float):
        return float(f"{value:.10g}")
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


FORMAT = Format("csv", (".csv",), write_csv, pages=False)

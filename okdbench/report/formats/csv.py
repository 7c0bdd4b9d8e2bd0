"""Rows for a spreadsheet, under one header."""

from typing import Any

import pandas as pd

from okdbench.report.formats import Content, Format, Screen


def write_csv(content: Content, screen: Screen) -> str:
    """Return all rows; lists are joined by spaces (``changed`` by semicolons), a column that a row lacks is empty."""
    joined = [
        {key: _joined(value, "; " if key == "changed" else " ") for key, value in row.items()} for row in content.rows()
    ]
    return str(pd.DataFrame(joined, dtype=object).to_csv(index=False, lineterminator="\n"))


def _joined(value: Any, separator: str) -> Any:
    return separator.join(map(str, value)) if isinstance(value, list) else value


FORMAT = Format("csv", (".csv",), write_csv)

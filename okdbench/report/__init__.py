"""What a person reads: a recipe's measured table in the paper's layout, as text, Markdown, LaTeX, CSV or JSON."""

from collections.abc import Sequence
from typing import Literal

from okdbench.report.data import to_csv, to_json
from okdbench.report.grid import build
from okdbench.report.latex import latex
from okdbench.report.markdown import markdown
from okdbench.report.model import Choice, Report
from okdbench.report.text import text
from okdbench.report.words import sentence
from okdbench.results.cells import CellResult

Format = Literal["text", "markdown", "latex", "csv", "json"]


def render(reports: Sequence[Report], format: Format, width: int | None = None, colour: bool = False) -> str:
    """Reports as one document. ``width`` (columns, None for any) and ``colour`` (ANSI codes) matter for text only."""
    if format == "csv":
        return to_csv(reports)
    if format == "json":
        return to_json(reports)
    if format == "text":
        return "\n".join(text(report, width, colour) for report in reports)
    return "\n".join((markdown if format == "markdown" else latex)(report) for report in reports)


def not_reproduced(report: Report) -> tuple[CellResult, ...]:
    """The cells for which the paper prints a number and whose verdict is not "reproduced"."""
    return tuple(result for result in report.cells if result.cell.reported and result.verdict != "reproduced")


__all__ = [
    "Choice",
    "Format",
    "Report",
    "build",
    "latex",
    "markdown",
    "not_reproduced",
    "render",
    "sentence",
    "text",
    "to_csv",
    "to_json",
]

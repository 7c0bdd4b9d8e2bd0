"""What a person reads: a recipe's measured table or simulation as text, Markdown, LaTeX, CSV or JSON, and figures."""

from collections.abc import Sequence
from typing import Literal

from okdbench.report.charts import chart
from okdbench.report.data import to_csv, to_json
from okdbench.report.document import build
from okdbench.report.latex import latex
from okdbench.report.markdown import markdown
from okdbench.report.model import AnyReport, Choice, Report, SimulationReport
from okdbench.report.text import text
from okdbench.report.words import sentence
from okdbench.results.cells import CellResult

Format = Literal["text", "markdown", "latex", "csv", "json"]


def render(reports: Sequence[AnyReport], format: Format, width: int | None = None, colour: bool = False) -> str:
    """Reports as one document. ``width`` (columns, None for any) and ``colour`` (ANSI codes) matter for text only."""
    if format == "csv":
        return to_csv(reports)
    if format == "json":
        return to_json(reports)
    if format == "text":
        return "\n".join(text(report, width, colour) for report in reports)
    return "\n".join((markdown if format == "markdown" else latex)(report) for report in reports)


def reported(report: AnyReport) -> tuple[CellResult, ...]:
    """The cells for which the paper prints a number; a simulation has none."""
    return () if isinstance(report, SimulationReport) else tuple(r for r in report.cells if r.cell.reported)


def not_reproduced(report: AnyReport) -> tuple[CellResult, ...]:
    """Those of them whose verdict is not "reproduced"."""
    return tuple(result for result in reported(report) if result.verdict != "reproduced")


__all__ = [
    "AnyReport",
    "Choice",
    "Format",
    "Report",
    "SimulationReport",
    "build",
    "chart",
    "latex",
    "markdown",
    "not_reproduced",
    "render",
    "reported",
    "sentence",
    "text",
    "to_csv",
    "to_json",
]

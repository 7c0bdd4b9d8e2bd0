"""Reports in any of the formats (a recipe's table or simulation, an audit, speed), and figures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from okdbench import kinds
from okdbench.kinds import AnyPlan, AnyReport
from okdbench.report import formats

if TYPE_CHECKING:
    from okdbench.report.model import Appendix, Choice, Document

__all__ = ["Reports", "TablesOnly", "build", "render"]


def build(plan: AnyPlan, results: Path, choice: "Choice" = "recipe") -> AnyReport:
    """Return what the runs under ``results`` say about the plan; raise UsageError naming a damaged file.

    ``choice`` is the protocol that makes the numbers of a table.
    """
    return kinds.get(plan.recipe.kind).report(plan, results, choice)


@dataclass(frozen=True)
class Reports:
    """Reports of several recipes in one file; see `okdbench.report.formats.Content`."""

    schema: ClassVar[str] = "okdbench.report/1"
    reports: Sequence[AnyReport]

    def documents(self) -> "list[Document]":
        """Return one document for each recipe."""
        return [report.document() for report in self.reports]

    def appendices(self) -> "list[Appendix]":
        """Return one appendix for each recipe."""
        return [report.appendix() for report in self.reports]

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of all recipes."""
        return [row for report in self.reports for row in report.rows()]

    def facts(self) -> dict[str, Any]:
        """Return an object with a list ``reports``."""
        return {"reports": [report.facts() for report in self.reports]}


class TablesOnly(Reports):
    """One report without source, details and legend."""

    def __init__(self, report: AnyReport) -> None:
        super().__init__([report])

    def documents(self) -> "list[Document]":
        """Return the tables under the recipe's title."""
        return [replace(each, source="", details=(), legend=()) for each in super().documents()]


def render(reports: Sequence[AnyReport], format: str, width: int | None = None, colour: bool = False) -> str:
    """Reports in the format of that name; ``width`` (columns, None for any) and ``colour`` matter for text only."""
    return formats.get(format).write(Reports(reports), formats.Screen(width, colour))

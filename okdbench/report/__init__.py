"""Reports in any of the formats (a recipe's table or simulation, an audit, speed), and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from okdbench import kinds
from okdbench.kinds import AnyPlan, AnyReport
from okdbench.report import formats

if TYPE_CHECKING:
    from okdbench.report.model import Appendix, Choice, Document

Style = Literal["report", "paper"]
"""A report sets ours beside the paper's, with verdicts; a paper shows ours, and how they were made."""

__all__ = ["Reports", "Style", "TablesOnly", "build", "render"]


def build(plan: AnyPlan, results: Path, choice: "Choice" = "recipe") -> AnyReport:
    """Return what the runs under ``results`` say about the plan; raise UsageError naming a damaged file.

    ``choice`` is the protocol that makes the numbers of a table.
    """
    return kinds.get(plan.recipe.kind).report(plan, results, choice)


@dataclass(frozen=True)
class Reports:
    """Reports of several recipes in one file; see `okdbench.report.formats.Content`.

    ``others`` are each recipe's runs beside its table, by its name; see `okdbench.report.model.Document`.
    """

    schema: ClassVar[str] = "okdbench.report/2"
    reports: Sequence[AnyReport]
    style: Style = "report"
    others: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    def documents(self) -> "list[Document]":
        """Return one document for each recipe."""
        if self.style == "paper":
            return [report.paper() for report in self.reports]
        return [replace(each.document(), others=self.others.get(each.plan.recipe.name, ())) for each in self.reports]

    def appendices(self) -> "list[Appendix]":
        """Return one appendix for each recipe, empty in the style of a paper."""
        from okdbench.report.model import Appendix

        return [Appendix() if self.style == "paper" else report.appendix() for report in self.reports]

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


def render(
    reports: Sequence[AnyReport],
    format: str,
    width: int | None = None,
    colour: bool = False,
    style: Style = "report",
    fragment: bool = False,
) -> str:
    """Reports in the format of that name; see `formats.Screen` for ``width``, ``colour`` and ``fragment``."""
    return formats.get(format).write(Reports(reports, style), formats.Screen(width, colour, fragment))

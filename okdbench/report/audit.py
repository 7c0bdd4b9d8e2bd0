"""The findings of an audit in sections, one for each check."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from okdbench.report.model import Appendix, Document, Listing
from okdbench.studies.audit import Check, Finding

AUDIT_SECTIONS: dict[Check, tuple[str, str]] = {
    "claims": (
        "Claims and the numbers they are about",
        "Computed from the printed cells. A claim holds within half a unit of its last digit, or its own tolerance. "
        "Own runs: mean ± standard deviation over seeds; whether the mean's 95% interval reaches the printed number.",
    ),
    "code": (
        "Paper and released code",
        "Methods of this table whose public code does otherwise than the paper says; the presets of a method are both.",
    ),
    "columns": (
        "Columns equal to another paper's",
        "At least half of three or more shared cells are equal to the digit, an error being 100 − accuracy.",
    ),
    "std": ("Same mean, other spread", "One accuracy in several tables, and the standard deviation that each prints."),
    "tables": ("One paper, two tables", "Cells that a paper prints twice."),
    "twins": ("One number, two cells", "Different cells of a paper, equal in mean and standard deviation."),
    "gains": (
        "Gains by the source of the rival's numbers",
        "A paper's own method against another paper's, with the rival's numbers from here and from its own paper.",
    ),
    "sources": (
        "One cell, several papers",
        "Accuracies that differ by more than any standard deviation printed for the cell.",
    ),
    "sweeps": (
        "Defaults in their sweep",
        "The value that the method has without the sweep, and the best of the values tried.",
    ),
    "single-runs": (
        "Single runs and the known noise",
        "Of n equal runs, 95% of ranges stay below the noise scale, given the pooled std of repeated numbers.",
    ),
    "groups": ("Two groups in one column", "Accuracies of two groups whose distance exceeds the sum of their widths."),
    "selection": (
        "Chosen on the test set",
        "The recipe's protocol takes the head or the epoch with the best test accuracy.",
    ),
    "heads": ("Teachers beside students", "The recipe's protocol takes the number of some methods from a teacher."),
    "protocols": ("One method, several protocols", "The head and epoch that make a number, by the recipes' protocols."),
    "names": ("One name, several networks", "Networks printed under one name; their numbers are not compared."),
    "repeats": ("± without n", "Standard deviations for which the table does not state the number of runs."),
}
"""Title and rule of each check."""
_HEADINGS = ("Compared", "Printed", "Computed", "Result", "Own runs")


@dataclass(frozen=True)
class AuditReport:
    """See `okdbench.report.formats.Content`."""

    schema: ClassVar[str] = "okdbench.audit/1"
    findings: Sequence[Finding]

    def documents(self) -> list[Document]:
        """Return a table of findings for each check that has any, with the rule of the check."""
        title = "Audit of published numbers"
        return [Document(title, "", title, tuple(sections(self.findings)), (), (summary(self.findings),))]

    def appendices(self) -> list[Appendix]:
        """Return an empty one."""
        return [Appendix()]

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary per finding: its check, its recipes, and what was compared, printed and computed."""
        return [{**asdict(each), "recipes": list(each.recipes)} for each in self.findings]

    def facts(self) -> dict[str, Any]:
        """Return an object with a list ``findings``."""
        return {"findings": self.rows()}


def summary(findings: Sequence[Finding]) -> str:
    """Return the number of claims that hold, and of other findings."""
    if not findings:
        return "No finding: no number is printed, or none that can be compared."
    claims = [finding for finding in findings if finding.check == "claims"]
    decided = [finding.holds for finding in claims if finding.holds is not None]
    held = f"Claims: {sum(decided)} of {len(decided)} hold. " if decided else ""
    undecided = len(claims) - len(decided)
    left = f"Claims that runs alone decide: {undecided}. " if undecided else ""
    return f"{held}{left}Other findings: {len(findings) - len(claims)}."


def sections(findings: Sequence[Finding]) -> Iterator[Listing]:
    """Return each check's findings, without the columns that have no text, and the check's rule."""
    headings_of = {"code": ("Compared", "Paper", "Released code", "Touches", "")}
    for check, (title, rule) in AUDIT_SECTIONS.items():
        rows = [(f.compared, f.printed, f.computed, f.result, f.ours) for f in findings if f.check == check]
        used = [index for index in range(len(_HEADINGS)) if any(row[index] for row in rows)]
        if rows:
            headings = tuple(headings_of.get(check, _HEADINGS)[index] for index in used)
            yield Listing(title, headings, tuple(tuple(row[i] for i in used) for row in rows), 0, rule)

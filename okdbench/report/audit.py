"""The findings of an audit for a person, in sections, or for a program."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from io import StringIO

from rich.console import Console
from rich.text import Text

from okdbench.report.markdown import escape, pipe_table
from okdbench.report.model import Listing
from okdbench.report.text import UNBOUNDED, rich_table
from okdbench.studies.audit import Check, Finding

SECTIONS: dict[Check, tuple[str, str]] = {
    "claims": (
        "Claims and the numbers they are about",
        "Computed from the printed cells. A claim holds within half a unit of its last digit, or its own tolerance.",
    ),
    "columns": (
        "Columns equal to another paper's",
        "At least half of three or more shared cells are equal to the digit, an error being 100 − accuracy.",
    ),
    "std": ("Same mean, other spread", "One accuracy in several tables, and what each prints beside it."),
    "tables": ("One paper, two tables", "Cells that a paper prints twice."),
    "twins": ("One number, two cells", "Different cells of a paper, equal in mean and standard deviation."),
    "gains": (
        "Gains by the source of the rival's numbers",
        "A paper's own method against another paper's, with the rival's numbers from here and from its own paper.",
    ),
    "sources": (
        "One cell, several papers",
        "Accuracy where papers differ by more than any standard deviation that they print for the cell.",
    ),
    "sweeps": (
        "Defaults in their sweep",
        "The value that the method has without the sweep, and the best of the values tried.",
    ),
    "single-runs": (
        "Single runs and the known noise",
        "95% of ranges of as many equal runs stay below the noise scale, given the pooled std of repeated numbers.",
    ),
    "groups": ("Two groups in one column", "Accuracies of two groups, further apart than both are wide together."),
    "selection": ("Chosen on the test set", "By the recipe's protocol head or epoch is the best by test accuracy."),
    "heads": ("Teachers beside students", "By the recipe's protocol some methods are read at a teacher."),
    "protocols": ("One method, several protocols", "Which head and epoch make a number, by the recipes' protocols."),
    "names": ("One name, several networks", "Networks printed under one name; their numbers are not compared."),
    "repeats": ("± without n", "Standard deviations whose number of runs the table does not state."),
}
"""Title and rule of each check."""
_HEADINGS = ("Compared", "Printed", "Computed", "Result")


def audit_text(findings: Sequence[Finding], width: int | None = None, colour: bool = False) -> str:
    """Sections of aligned columns, in lines of at most ``width`` columns; None: each finding on one line."""
    written = StringIO()
    console = Console(
        file=written, width=width or UNBOUNDED, force_terminal=colour, no_color=not colour, highlight=False
    )
    for listing, rule in _sections(findings):
        console.print(rich_table(listing))
        console.print(Text(rule, style="dim"))
        console.print()
    console.print(Text(summary(findings)))
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def audit_markdown(findings: Sequence[Finding]) -> str:
    """The same as GitHub-flavoured Markdown."""
    blocks = ["### Audit of published numbers"]
    for listing, rule in _sections(findings):
        blocks += [f"**{listing.title}**", escape(rule), pipe_table(listing)]
    return "\n\n".join([*blocks, escape(summary(findings))]) + "\n"


def audit_json(findings: Sequence[Finding]) -> str:
    """An object with a list ``findings``, each with its check, recipes, and what was compared, printed, computed."""
    return json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2, ensure_ascii=False) + "\n"


def summary(findings: Sequence[Finding]) -> str:
    """How many findings of which kind."""
    if not findings:
        return "No finding: no number is printed, or none that can be compared."
    claims = [finding.holds for finding in findings if finding.check == "claims"]
    held = f"Claims: {sum(map(bool, claims))} of {len(claims)} hold. " if claims else ""
    return f"{held}Other findings: {len(findings) - len(claims)}."


def _sections(findings: Sequence[Finding]) -> Iterator[tuple[Listing, str]]:
    """Each check's findings as a table, columns without any text left out, and the check's rule."""
    for check, (title, rule) in SECTIONS.items():
        rows = [(f.compared, f.printed, f.computed, f.result) for f in findings if f.check == check]
        used = [index for index in range(len(_HEADINGS)) if any(row[index] for row in rows)]
        if rows:
            headings = tuple(_HEADINGS[index] for index in used)
            yield Listing(title, headings, tuple(tuple(row[i] for i in used) for row in rows), 0), rule

"""Writes the generated part of README.md again from the published records: ``make readme``."""

from pathlib import Path

from marks import replaced

from okdbench.plan import expand
from okdbench.recipe import load
from okdbench.report import build, render

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
KEPT = ("- Top-1", "- ±", "- Protocol", "- Computed")
BEGIN, END = "<!-- begin generated: make readme -->\n", "<!-- end generated -->\n"


def table() -> str:
    """The quickstart's table as Markdown, with the notes on its numbers; the rest of the report is left out."""
    report = build(expand(load("quickstart")), ROOT / "results", "recipe")
    text = render([report], "markdown").partition("\n\n")[2]
    notes = [line for line in text.splitlines() if line.startswith(KEPT)]
    return text.partition("**Cell by cell**")[0] + "\n".join(notes) + "\n"


def generated(text: str) -> str:
    """README text with the part between the marks replaced."""
    return replaced(text, BEGIN, table(), END)


if __name__ == "__main__":
    README.write_text(generated(README.read_text()))

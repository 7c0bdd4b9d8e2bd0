"""Writes the generated part of README.md again from the published records: ``make readme``."""

from pathlib import Path

from okdbench.plan import expand
from okdbench.recipe import load
from okdbench.report import build, render

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- begin generated: make readme -->\n", "<!-- end generated -->\n"


def table() -> str:
    """The quickstart's table as Markdown, without its title."""
    report = build(expand(load("quickstart")), ROOT / "results", "recipe")
    return render([report], "markdown").partition("\n\n")[2]


def generated(text: str) -> str:
    """README text with the part between the marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(generated(README.read_text()))

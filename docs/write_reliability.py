"""Writes the generated part of docs/reliability.md again, from the tests' own tables: ``make reliability``."""

import sys
from collections import Counter
from pathlib import Path

from marks import replaced

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- begin generated: make reliability -->\n", "<!-- end generated -->\n"
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bad_input import every  # noqa: E402
from faults import FAULTS  # noqa: E402


def tables() -> str:
    """Faults with what happens, then every wrong input with its answer, as Markdown."""
    inputs = list(every())
    lines = ["## What was tried", "", "Each row is a test that does it; *times* counts its cases.", ""]
    lines += ["| what was done | times | what happened |", "|---|---:|---|"]
    lines += [
        f"| [{_cell(each.what)}]({_place(each.test)}) | {each.times:,} | {_cell(each.happened)} |" for each in FAULTS
    ]
    kinds = Counter(each.kind for each in inputs)
    lines += ["", "## Wrong input", ""]
    lines += [
        f"{len(inputs)} inputs, each answered by lines that name file, key and remedy, with exit status 2 and without"
    ]
    lines += ["a traceback ([the test](../tests/cli/test_bad_input.py)). What the message must have in it:"]
    for kind in kinds:
        lines += ["", f"### {kind}", "", "| input | the message |", "|---|---|"]
        own = [each for each in inputs if each.kind == kind]
        lines += [f"| {_cell(each.what)} | {_cell(' ... '.join(each.says)) or 'one line'} |" for each in own]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text for a cell of a table; a bar would end it, and outside of code other signs would be markup."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    plain = str.maketrans({"<": "&lt;", "*": "\\*", "[": "\\[", "_": "\\_"})
    return "`".join(part if number % 2 else part.translate(plain) for number, part in enumerate(parts))


def _place(test: str) -> str:
    return f"../tests/{test.partition('::')[0]}"


def generated(text: str) -> str:
    """The page's text with the part between the marks replaced."""
    return replaced(text, BEGIN, tables(), END)


if __name__ == "__main__":
    PAGE.write_text(generated(PAGE.read_text()))

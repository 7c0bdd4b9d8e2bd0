"""A new output format is one file, as docs/add-a-format.md shows: verbs find it by its name and its ending."""

from pathlib import Path

import pytest
from commandline import Command
from pages import ROOT, commands, files

PAGE = (ROOT / "docs" / "add-a-format.md").read_text()


@pytest.fixture(autouse=True)
def page_file(okdbench: Command) -> None:
    """The page's file in the folder of the command."""
    [(name, text)] = files(PAGE).items()
    Path(name).write_text(text)


def test_the_commands_of_the_page_work(okdbench: Command) -> None:
    by_name, by_ending, audit = (okdbench(*words) for words in commands(PAGE))
    assert [each.status for each in (by_name, by_ending, audit)] == [0, 0, 0]
    lines = by_name.out.splitlines()
    assert lines[0].startswith("recipe\tdataset\t") and len(lines) == 6 and "\tdkel\t" in lines[5]
    assert Path("table.tsv").read_text() == by_name.out
    assert Path("audit.tsv").read_text().startswith("check\trecipes\t")


def test_values_are_no_page_for_readers(okdbench: Command) -> None:
    page = okdbench("--plugin", "tsv.py", "report", "quickstart", "--style", "paper", "--format", "tsv")
    assert page.status == 2 and "--style paper: is a page, and tsv holds values" in " ".join(page.err.split())


def test_an_unknown_format_is_answered_with_a_suggestion(okdbench: Command) -> None:
    wrong = okdbench("--plugin", "tsv.py", "report", "quickstart", "--format", "tvs")
    assert wrong.status == 2 and 'did you mean "tsv"?' in wrong.err

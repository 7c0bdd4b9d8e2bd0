"""A new output format is one file, as docs/add-a-format.md shows: verbs find it by its name and its ending."""

import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, commands, files

PAGE = (ROOT / "docs" / "add-a-format.md").read_text()


def okdbench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "okdbench", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's file in an empty folder."""
    [(name, text)] = files(PAGE).items()
    (tmp_path / name).write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_the_commands_of_the_page_work(tmp_path: Path) -> None:
    by_name, by_ending, audit = (okdbench(tmp_path, *words) for words in commands(PAGE))
    assert [each.returncode for each in (by_name, by_ending, audit)] == [0, 0, 0]
    lines = by_name.stdout.splitlines()
    assert lines[0].startswith("recipe\tdataset\t") and len(lines) == 5 and "\tdkel\t" in lines[4]
    assert (tmp_path / "table.tsv").read_text() == by_name.stdout
    assert (tmp_path / "audit.tsv").read_text().startswith("check\trecipes\t")


def test_an_unknown_format_is_answered_with_a_suggestion(tmp_path: Path) -> None:
    wrong = okdbench(tmp_path, "--plugin", "tsv.py", "report", "quickstart", "--format", "tvs")
    assert wrong.returncode == 2 and 'did you mean "tsv"?' in wrong.stderr

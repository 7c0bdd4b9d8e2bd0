"""A new output format is one file: every verb that writes one knows it by its name and by its files' ending."""

import subprocess
import sys
from pathlib import Path

FORMAT = '''
from okdbench.report.formats import Format


def write(content, screen):
    """The title and the cells of every table."""
    lines = []
    for document in content.documents():
        lines += [f"= {document.title}", *(str(row["method"]) for row in content.rows() if "method" in row)]
    return "\\n".join(lines) + "\\n"


FORMAT = Format("titles", (".titles",), write)
'''


def okdbench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "okdbench", "--plugin", "titles.py", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_report_knows_the_format_of_one_file(tmp_path: Path) -> None:
    (tmp_path / "titles.py").write_text(FORMAT)
    printed = okdbench(tmp_path, "report", "quickstart", "--format", "titles")
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.startswith("= Quickstart: ") and "\ndkel\n" in printed.stdout
    written = okdbench(tmp_path, "report", "quickstart", "-o", "table.titles")
    assert written.returncode == 0, written.stderr
    assert (tmp_path / "table.titles").read_text() == printed.stdout
    wrong = okdbench(tmp_path, "report", "quickstart", "--format", "titels")
    assert wrong.returncode == 2 and 'did you mean "titles"?' in wrong.stderr

"""The commands in the blocks of the pages: those that need no records, and training with --smoke, as real processes;
those that read records in this process, with records that are published or made up.
"""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import fabricate
import pytest
from commandline import Command, okdbench
from pages import PAGES, ROOT, blocks, commands, parsed

from okdbench import recipe
from okdbench.plan import Selection, expand

__all__ = ["okdbench"]

READING = ("report", "status", "leaderboard", "compare", "plan", "track", "data list", "doctor")
QUICK = ("list recipes", "list methods", "list networks", "show", "copy", "validate", "audit")
FILES = re.compile(r"[\w-]+\.(yaml|py)")


def shown(path: Path) -> list[list[str]]:
    """The commands of a page's shell blocks that can run as they stand."""
    text = "".join(f"```bash\n{block}```\n" for block in blocks(path.read_text(), "bash"))
    found, written = [], set[str]()
    for words in commands(text):
        verb = parsed(words)[0]
        files = {word for word in words if FILES.fullmatch(word)}
        if verb in QUICK and (verb == "copy" or files <= written) and not any(word.isupper() for word in words):
            written |= files
            found.append(words)
        elif verb == "run" and words[1] in ("quickstart", "dkel-table1") and "--processes" not in words:
            found.append(["run", words[1], "--smoke", "-m", "baseline"])
    return [words for index, words in enumerate(found) if words not in found[:index]]


PAGES_WITH_COMMANDS = [path for path in PAGES if shown(path)]


def test_the_readme_is_among_them() -> None:
    assert ROOT / "README.md" in PAGES_WITH_COMMANDS
    assert ["show", "dkel-table1", "--cost"] in [words for path in PAGES_WITH_COMMANDS for words in shown(path)]


def test_no_two_pages_write_the_same_recipe() -> None:
    copies = [(words[-1], path.name) for path in PAGES for words in commands(path.read_text()) if words[:1] == ["copy"]]
    for file, page in copies:
        assert {other for name, other in copies if name == file} == {page}, file
    assert {words[1] for path in PAGES for words in commands(path.read_text()) if words[:1] == ["copy"]} <= {
        *recipe.available()
    }


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES_WITH_COMMANDS, ids=lambda path: path.stem)
def test_commands_of_a_page_run(path: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OKDBENCH_")}
    environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    for words in shown(path):
        command = [sys.executable, "-m", "okdbench", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"


def reading(path: Path) -> list[list[str]]:
    """The commands of a page's shell blocks that read records; those of plugins have tests of their own."""
    text = "".join(f"```bash\n{block}```\n" for block in blocks(path.read_text(), "bash"))
    found = [words for words in commands(text) if parsed(words)[0] in READING]
    return [words for words in found if not any(word == "--plugin" or word.endswith(".yaml") for word in words)]


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published records of the quickstart, and made-up ones of other recipes."""
    results = tmp_path_factory.mktemp("records") / "results"
    shutil.copytree(ROOT / "results" / "quickstart", results / "quickstart")
    for name, selection in {"dkel-table1": Selection(datasets=("cifar100",)), "dkel-figure7": Selection()}.items():
        fabricate.table(results, expand(recipe.load(name), selection), epochs=2)
    return results


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in PAGES if reading(path)], ids=lambda path: path.stem)
def test_commands_that_read_records_work(path: Path, records: Path, okdbench: Command) -> None:
    shutil.copytree(records, "results")
    for words in reading(path):
        done = okdbench(*words)
        assert done.status == 0 or (done.status, words[-1]) == (1, "--check"), f"{shlex.join(words)}\n{done.err}"
        assert done.out, shlex.join(words)
        for word, file in itertools.pairwise(words):
            assert word not in ("-o", "--figure", "--figures") or Path(file).exists(), shlex.join(words)


def test_the_example_for_python_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "results" / "quickstart", tmp_path / "results" / "quickstart")
    monkeypatch.chdir(tmp_path)
    exec(blocks((ROOT / "docs" / "use-the-results.md").read_text(), "python")[0], {})
    assert "dkel" in capsys.readouterr().out

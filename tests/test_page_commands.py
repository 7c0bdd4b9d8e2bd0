"""The commands in the blocks of the pages, as real processes: those that train nothing, and training with --smoke."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pages import PAGES, ROOT, blocks, commands, parsed

from okdbench import recipe

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

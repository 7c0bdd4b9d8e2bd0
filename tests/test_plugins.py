"""Methods and networks in files of other people: found, kept apart, and refused in one line."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from okdbench import methods, plugins
from okdbench.errors import UsageError

ROOT = Path(__file__).parent.parent

METHOD = '''
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from okdbench.methods.baseline import Baseline, BaselineConfig


@dataclass
class Pair:
    number: int


class MineConfig(BaselineConfig):
    """Annotations that are looked up when the class is made."""

    kind: Literal["a", "b"] = "a"


class Mine(Baseline):
    name = "mine"
    Config = MineConfig
'''


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a plugin file and makes it known for the time of a test."""
    monkeypatch.setenv(plugins.VARIABLE, "")

    def write(text: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        plugins.add(path)
        return path

    return write


def okdbench(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    command = [sys.executable, "-m", "okdbench", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def found_anew() -> dict[str, Any]:
    """All methods, with those of the plugins of this test."""
    return methods.registry._found.__wrapped__()


def test_a_file_may_use_annotations_as_text(write) -> None:
    write(METHOD)
    [(module, _)] = plugins.offers("okdbench.methods")
    assert module.Mine.Config(kind="b").kind == "b"
    assert module.Pair(3).number == 3


def test_files_of_the_same_name_are_two_modules(write) -> None:
    write("here = 1", "one/mine.py")
    write("here = 2", "two/mine.py")
    (first, _), (second, _) = plugins.offers("okdbench.networks")
    assert (first.here, second.here) == (1, 2)
    assert first.__name__ != second.__name__


def test_a_file_that_does_not_load_is_named_with_the_reason(write) -> None:
    path = write("import nothing_of_that_name")
    with pytest.raises(UsageError, match=f"plugin {path}: does not load .ModuleNotFoundError: .*; fix the file"):
        plugins.offers("okdbench.methods")


def test_the_record_can_tell_two_versions_of_a_file_apart(write) -> None:
    path = write("version = 1")
    before = plugins.fingerprints()
    path.write_text("version = 2")
    assert list(before) == ["mine.py"] and before != plugins.fingerprints()


@pytest.mark.slow
def test_the_option_stands_before_the_verb(write, tmp_path: Path) -> None:
    write(METHOD)
    done = okdbench("--plugin", "mine.py", "list", "methods", folder=tmp_path)
    assert done.returncode == 0 and "\nmine " in done.stdout


@pytest.mark.parametrize("base", ["Baseline", "Mine"])
def test_a_method_without_a_name_of_its_own_is_named(write, base: str) -> None:
    write(METHOD + f"\n\nclass Nameless({base}):\n    title = 'Nameless'\n")
    expected = r'mine\.py, class Nameless: has no name of its own; add name = "nameless"$'
    with pytest.raises(UsageError, match=expected):
        found_anew()


def test_a_base_class_that_is_no_method_yet_needs_no_name(write) -> None:
    write(METHOD + "\n\nfrom okdbench.methods import Method\n\nclass Base(Method):\n    title = 'Without losses'\n")
    found = found_anew()
    assert "mine" in found and not any(kind.__name__ == "Base" for kind, _ in found.values())


def test_commands_to_copy_have_the_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    from okdbench.cli import options

    monkeypatch.setattr(sys, "argv", ["okdbench", "--plugin", "a b.py", "--plugin=c.py", "run", "x.yaml"])
    assert options.command("report", "x.yaml") == "okdbench --plugin 'a b.py' --plugin=c.py report x.yaml"


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = okdbench("--plugin", "mine.py", "list", "methods", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    expected = "--plugin mine.py: there is no such file; name a Python file"
    assert done.stderr.splitlines()[0] == f"okdbench: error: {expected}"

"""The command line in this process, fast because torch loads once; tests/cli/test_process.py starts real processes.

A conftest.py that imports these fixtures offers them to the tests of its folder.
"""

import shutil
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

STUB = (sys.executable, str(Path(__file__).parent / "stub_worker.py"))
"""Stands in for the worker command."""
TINY = Path(__file__).parent / "tiny.yaml"
"""The recipe of these tests, which the recipes that come with okdbench leave as it is."""


class Outcome(NamedTuple):
    """What a person sees of a command."""

    status: int
    out: str
    err: str


Command = Callable[..., Outcome]
"""``okdbench("run", "quickstart")``: see the fixture."""


@cache
def verbs_and_options() -> Any:
    """The program as typer builds it, once for all tests of a process: many call it, and it takes a while."""
    from okdbench.cli.app import app

    return typer.main.get_command(app)


@pytest.fixture
def okdbench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Calls ``okdbench WORDS...`` in an empty folder, with nothing set in the environment."""
    from okdbench.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OKDBENCH_RESULTS", raising=False)
    monkeypatch.delenv("OKDBENCH_DATA", raising=False)
    monkeypatch.setenv("OKDBENCH_PLUGINS", "")  # what --plugin adds is forgotten after the test
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    monkeypatch.setenv("COLUMNS", "80")
    built = verbs_and_options()
    monkeypatch.setattr(typer.main, "get_command", lambda app: built)

    def call(*words: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["okdbench", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Outcome(int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def tiny(okdbench: Command) -> Path:
    """`TINY` as tiny.yaml in the folder of the command."""
    return Path(shutil.copy(TINY, "."))


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """``run`` starts the stub instead of training."""
    from okdbench.engines import LocalEngine, Patience

    engine = partial(LocalEngine, command=STUB, poll=0.02, patience=Patience(pause=0))
    monkeypatch.setattr("okdbench.engines.local.LocalEngine", engine)

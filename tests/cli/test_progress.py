"""Long work is shown with the time left: on standard error, in a terminal, unless the user wants quiet."""

import io

import pytest

from okdbench import progress
from okdbench.cli import progress as shown
from okdbench.cli.output import verbosity


class Terminal(io.StringIO):
    """Standard error that is a terminal, or not."""

    def __init__(self, is_one: bool) -> None:
        super().__init__()
        self.is_one = is_one

    def isatty(self) -> bool:
        return self.is_one


@pytest.mark.parametrize(("terminal", "quiet"), [(True, False), (True, True), (False, False)])
def test_only_in_a_terminal_and_not_with_quiet(terminal: bool, quiet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    error = Terminal(terminal)
    monkeypatch.setattr("sys.stderr", error)
    monkeypatch.setattr(verbosity, "quiet", quiet)
    monkeypatch.setattr(shown, "PATIENCE", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    shown.show_long_work()
    try:
        items = list(progress.tracked(progress.tracked(range(7), "inner work", 7), "packing", 7))
    finally:
        progress.show_with(None)
    written = error.getvalue()
    assert items == list(range(7))
    assert ("packing" in written and "7/7" in written and "left" in written) == (terminal and not quiet)
    assert "inner work" not in written, "work within other work has no bar of its own"


def test_quick_work_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    error = Terminal(True)
    monkeypatch.setattr("sys.stderr", error)
    shown.show_long_work()
    try:
        with progress.progress("packing", 3, in_bytes=True) as advance:
            advance(3)
    finally:
        progress.show_with(None)
    assert error.getvalue() == ""

from pathlib import Path
from typing import NamedTuple

import pytest

from okdbench.kept import kept


class Counted(NamedTuple):
    """A value with a part."""

    macs: float
    part: tuple[int, str] | None


VALUE = Counted(1.5, (2, "x"))


def refuse() -> Counted:
    raise AssertionError("worked out again")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "okdbench" / "things"


def test_a_value_is_worked_out_once_for_each_key_and_version_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept("things", "one", Counted, lambda: VALUE) == VALUE
    assert kept("things", "one", Counted, refuse) == VALUE
    with pytest.raises(AssertionError, match="again"):
        kept("things", "two", Counted, refuse)
    monkeypatch.setattr("okdbench.kept._code", lambda: "other")
    with pytest.raises(AssertionError, match="again"):
        kept("things", "one", Counted, refuse)


def test_a_damaged_file_is_replaced(folder: Path) -> None:
    kept("things", "one", Counted, lambda: VALUE)
    [file] = folder.iterdir()
    file.write_text('["torn')
    assert kept("things", "one", Counted, lambda: VALUE) == VALUE
    assert kept("things", "one", Counted, refuse) == VALUE


def test_a_folder_that_cannot_be_written_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "okdbench").write_text("a file where the folder should be")
    assert kept("things", "one", Counted, lambda: VALUE) == VALUE

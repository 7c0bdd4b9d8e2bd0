"""What is kept of files: never that of other ones, whatever has become of the database."""

import multiprocessing
import os
import sqlite3
import time
from pathlib import Path

import pytest

from okdbench import shelf as module
from okdbench.shelf import Shelf, identity


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "WORTH_KEEPING", 2)
    return tmp_path / "cache" / "okdbench" / "things"


def shelf() -> Shelf:
    return Shelf("things", Path("results"))


def filled(*contents: bytes) -> None:
    new = shelf()
    for number, content in enumerate(contents):
        new.put(f"run{number}", "files", content)
    new.keep()


def test_entries_are_found_by_later_commands_for_the_same_files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    filled(b"one", b"two")
    later = shelf()
    assert [later.get(name, "files") for name in ("run0", "run1", "run2")] == [b"one", b"two", None]
    assert later.get("run0", "other files") is None
    assert Shelf("things", Path("elsewhere")).get("run0", "files") is None
    monkeypatch.setattr(module, "__version__", "another")
    assert later.get("run0", "files") is None


def test_an_entry_is_replaced() -> None:
    filled(b"one", b"two")
    filled(b"three", b"four", b"five")
    assert [shelf().get(f"run{number}", "files") for number in range(3)] == [b"three", b"four", b"five"]


def test_few_entries_are_not_written(cache: Path) -> None:
    filled(b"one")
    assert not cache.exists()


def test_many_bytes_are_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 10)
    new = shelf()
    for number in range(4):
        new.put(f"run{number}", "files", b"0123456")
    assert [shelf().get(f"run{number}", "files") for number in (0, 3)] == [b"0123456"] * 2
    assert new.get("run0", "files") == b"0123456"


@pytest.mark.parametrize("damage", [b"", b"not a database", b"SQLite format 3\x00" + b"\xff" * 5000, None])
def test_a_damaged_database_is_made_again(cache: Path, damage: bytes | None) -> None:
    filled(b"one" * 2000, b"two" * 2000)
    [path] = cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert shelf().get("run1", "files") is None
    filled(b"one", b"two")
    assert shelf().get("run1", "files") == b"two"


def test_a_flipped_bit_is_seen(cache: Path) -> None:
    filled(b"one" * 2000, b"two" * 2000)
    [path] = cache.iterdir()
    content = path.read_bytes()
    assert b"twotwo" in content
    path.write_bytes(content.replace(b"twotwo", b"twotwp", 1))
    assert (shelf().get("run0", "files"), shelf().get("run1", "files")) == (b"one" * 2000, None)


def test_a_database_with_something_else_in_it_is_left_alone(cache: Path) -> None:
    filled(b"one", b"two")
    [path] = cache.iterdir()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE entries SET content = 5")
    assert shelf().get("run0", "files") is None


def test_a_locked_database_costs_no_more_than_one_wait(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(b"one", b"two")
    actual = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **more: actual(*a, **more, timeout=0.1))
    [path] = cache.iterdir()
    database = actual(path, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    reader, start = shelf(), time.monotonic()
    assert [reader.get("run0", "files") for _ in range(100)] == [None] * 100
    filled(b"three", b"four")
    assert time.monotonic() - start < 5
    database.execute("ROLLBACK")
    assert shelf().get("run0", "files") == b"one"


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    filled(b"one", b"two")
    assert shelf().get("run0", "files") is None


def fill_many(number: int) -> None:
    for _ in range(10):
        filled(*[bytes([number]) * 100] * 50)


def test_commands_that_write_at_once_leave_whole_entries() -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=fill_many, args=(number,)) for number in range(4)]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        found = shelf().get("run7", "files")
        assert found is None or found in [bytes([number]) * 100 for number in range(4)]
    assert [process.exitcode for process in processes] == [0] * 4
    assert all(shelf().get(f"run{number}", "files") for number in range(50))


def test_the_identity_of_files_changes_with_them_and_new_files_have_none(tmp_path: Path) -> None:
    path, other = tmp_path / "one", tmp_path / "two"
    path.write_text("content")
    assert identity([path]) == "" == identity([other])
    os.utime(path, (1e9, 1e9))
    before = identity([path])
    assert before and identity([path]) == before
    other.write_text("CONTENT")
    os.utime(other, (1e9, 1e9))
    other.replace(path)
    assert identity([path]) not in ("", before)

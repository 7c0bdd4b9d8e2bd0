"""What has been read from many files, kept until one of them changes: a database for each folder, in the user's cache.

Reading thousands of files takes long. An entry counts only while its files are what they were, so nothing here comes
before the files themselves, and a database that is not there, locked or damaged costs time and nothing else.
"""

import hashlib
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from okdbench import __version__
from okdbench.kept import cache_folder

WORTH_KEEPING = 100
"""Entries that must be new before they are written."""
YOUNG = 2.0
"""Seconds in which a file may change again without a later time of change."""
_SELECT = "SELECT files, checksum, content FROM entries WHERE name = ? AND typeof(content) = 'blob'"
_MOST = 2**25
"""Bytes of new entries that are held in memory."""


def identity(paths: Iterable[Path]) -> str:
    """Return what tells whether files have changed; "" where one is not there, or so new that nothing tells that."""
    try:
        found = [path.stat() for path in paths]
    except OSError:
        return ""
    if time.time() - max(each.st_mtime for each in found) < YOUNG:
        return ""
    return " ".join(
        f"{each.st_dev} {each.st_ino} {each.st_size} {each.st_mtime_ns} {each.st_ctime_ns}" for each in found
    )


class Shelf:
    """Entries, by name, about the files in one folder."""

    def __init__(self, purpose: str, folder: Path) -> None:
        name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:32]
        self._path = cache_folder(purpose).absolute() / f"{name}.sqlite"
        self._readable = self._path.exists()
        self._reader: sqlite3.Connection | None = None
        self._pending: dict[str, tuple[str, bytes]] = {}
        self._bytes = self._new = 0

    def get(self, name: str, files: str) -> bytes | None:
        """Return what was put under the name, if the `identity` of its files is the same; None otherwise."""
        name = _storable(name)
        if found := self._pending.get(name):
            return found[1] if found[0] == files else None
        if not self._readable:
            return None
        try:
            self._reader = self._reader or sqlite3.connect(f"{self._path.as_uri()}?mode=rw", uri=True)
            rows = self._reader.execute(_SELECT, [name]).fetchall()
        except sqlite3.Error:
            self._readable = False
            return None
        return next((row[2] for row in rows if row == _row(name, files, row[2])[1:]), None)

    def put(self, name: str, files: str, content: bytes) -> None:
        """Add or replace an entry; with no identity of files there is nothing to keep."""
        if files:
            self._pending[_storable(name)] = files, content
            self._bytes += len(content)
            self._new += 1
        if self._bytes > _MOST:
            self.keep()

    def keep(self) -> None:
        """Write what is new, if that is much; what cannot be written is read again next time."""
        if self._new < WORTH_KEEPING or not self._pending:
            return
        with suppress(OSError, sqlite3.OperationalError):
            try:
                self._write()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # not because of what is in it
                    raise
                self._path.unlink()
                self._write()
            self._reader, self._readable = None, True
        self._pending.clear()
        self._bytes = 0

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        rows = [_row(name, *entry) for name, entry in self._pending.items()]
        with closing(sqlite3.connect(self._path)) as database, database:
            database.execute("PRAGMA synchronous = OFF")  # the checksums show what a power cut has spoiled
            database.execute("CREATE TABLE IF NOT EXISTS entries (name TEXT PRIMARY KEY, files, checksum, content)")
            database.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", rows)


def _storable(name: str) -> str:
    """Return a name that may be of bytes in no encoding as text that a database takes."""
    return name.encode(errors="backslashreplace").decode()


def _row(name: str, files: str, content: bytes) -> tuple[str, str, int, bytes]:
    """Return an entry as it is stored; those of another version of okdbench do not count."""
    files = f"{__version__} {files}"
    return name, files, zlib.crc32(content, zlib.crc32(f"{name} {files}".encode())), content

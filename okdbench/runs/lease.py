"""Who works on a run: a lease in its folder, kept alive by a heartbeat, and free again when that stops.

A lease is a file ``lease.N``, and only the one with the highest N counts. To take a run that is free, a process makes
the next file, which the file system allows exactly one process to do, on a network disk as well. The owner writes a
`Heartbeat` into it in place, every few seconds; the last one says that the lease is released, and stays. Nothing is to
be undone after a crash: the next process just sees no change and makes the next file.

The clocks of different machines are never compared. On the owner's machine its process is looked for; elsewhere a lease
is dead when it has not changed for a while by the clock of the one who looks.
"""

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from okdbench.errors import UsageError
from okdbench.files import naming_full_disk
from okdbench.runs.records import Heartbeat

PREFIX = "lease."
INTERVAL = 10.0
"""Seconds between two heartbeats."""
EXPIRY = 60.0
"""Seconds without a change after which a lease is dead."""
_SIZE = 512
"""Bytes of the file, always, so that a heartbeat replaces the one before it at once."""


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease, by one look at it.

    ``since`` is its start in seconds since 1970, by its own clock; ``silent`` how long ago its last heartbeat was, by
    the clock of this machine and that of the disk; ``idle`` how long its run has not advanced, in seconds.
    """

    host: str
    since: float
    silent: float
    idle: float


class LeaseLost(UsageError):
    """This process was taken for dead, and another one does its run."""


class Lease:
    """A run that this process may work on until it is released; `require` raises LeaseLost once that is over."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        self._file = os.open(_path(folder, number), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._beat = Heartbeat.of_this_process()
        self._advanced = self._confirmed = time.monotonic()
        self._lost, self._ended, self._writing = False, threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._go_on, name="lease", daemon=True)

    def progressed(self) -> None:
        """Note that the run has advanced."""
        self._advanced = time.monotonic()

    def decide(self) -> None:
        """Let other processes know that this one will do the run, whoever else wants it."""
        self._beat = self._beat.model_copy(update={"decided": True})
        self._write()
        self.require(at_once=True)

    def require(self, at_once: bool = False) -> None:
        """Raise LeaseLost unless the lease is still this process's; look again if the last look is too old."""
        if at_once or time.monotonic() - self._confirmed > EXPIRY / 2:  # the process, or its disk, stood still
            self._confirm()
        if self._lost:
            raise LeaseLost(f"{self._folder}: another process has taken over the run, since this one stood still")

    def release(self) -> None:
        """Let others have the run."""
        self._ended.set()
        if self._thread.ident:
            self._thread.join()
        self._confirm()
        if not self._lost:
            self._beat = self._beat.model_copy(update={"released": True})
            with suppress(OSError):  # then it is found to be dead
                self._write()
        os.close(self._file)

    def start(self) -> None:
        """Write the first heartbeat, and the others from a thread."""
        try:
            with naming_full_disk(_path(self._folder, self._number)):
                self._write()
        except BaseException:
            self.discard()
            raise
        self._thread.start()

    def discard(self) -> None:
        """Remove a lease that was not started."""
        _path(self._folder, self._number).unlink(missing_ok=True)
        os.close(self._file)

    def _go_on(self) -> None:
        while not self._ended.wait(INTERVAL):
            with suppress(OSError):
                self._write()
                self._confirm()

    def _write(self) -> None:
        with self._writing:
            idle = round(time.monotonic() - self._advanced, 1)
            self._beat = self._beat.model_copy(update={"number": self._beat.number + 1, "idle": idle})
            os.pwrite(self._file, self._beat.model_dump_json().encode().ljust(_SIZE - 1) + b"\n", 0)
            os.fsync(self._file)

    def _confirm(self) -> None:
        """See whether the file still is the newest lease of the folder."""
        try:
            mine, found = os.fstat(self._file), _path(self._folder, self._number).stat()
        except OSError:
            self._lost = True  # moved away with its folder, or deleted
        else:
            self._lost = not os.path.samestat(mine, found) or _path(self._folder, self._number + 1).exists()
        self._confirmed = time.monotonic()


class LeaseWatch:
    """One process's view of a folder's lease over time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[int, Heartbeat | None] = (0, None)
        self._since = time.monotonic()
        self.look()

    def look(self) -> bool:
        """Look again; return whether the lease has changed."""
        found = newest(self._folder)
        if changed := found != self._seen:
            self._seen, self._since = found, time.monotonic()
        return changed

    @property
    def holder(self) -> Heartbeat | None:
        """Who holds the lease; None if nobody does."""
        return _holder(self._seen[1])

    @property
    def silent(self) -> float:
        """Seconds without a change, of a lease that somebody holds."""
        return time.monotonic() - self._since if self.holder else 0.0

    def take(self) -> Lease | None:
        """Take a lease that is free, or dead as far as this watch can tell; None if another process was faster.

        OSError where the folder cannot be written, FileNotFoundError where it is not there.
        """
        number = self._seen[0] + 1
        if self.holder and self.silent < EXPIRY:
            return None
        try:
            lease = Lease(self._folder, number)
        except FileExistsError:
            return None
        if any(each > number for each in _numbers(self._folder)):  # made since the last look
            lease.discard()
            return None
        lease.start()
        for each in _numbers(self._folder):
            if each < number - 1:  # one is kept, for those who list the folder just now
                with suppress(OSError):  # a folder
                    _path(self._folder, each).unlink()
        return lease


def take(folder: Path, stop: Callable[[], bool] = lambda: False) -> Lease | None:
    """Return the lease of a run's folder; None if another process holds it, or the folder is not there.

    A holder on another machine is waited for, up to a minute, until it shows a sign of life or ``stop`` says so.
    """
    watch = LeaseWatch(folder)
    while (holder := watch.holder) and watch.silent < EXPIRY:
        if holder.is_here or stop():
            return None
        time.sleep(0.2)
        if watch.look() and watch.holder:
            return None
    try:
        return watch.take()
    except FileNotFoundError:
        return None


def clear(watch: LeaseWatch) -> None:
    """Free a lease that is dead as far as the watch can tell, so that nobody else need wait."""
    if lease := watch.take():
        lease.release()


@contextmanager
def held(folder: Path, wait: bool = False) -> Iterator[Lease | None]:
    """Take the lease for a short while; None if it cannot be had: at once, or with ``wait`` as in `take`."""
    lease = take(folder, stop=lambda: not wait)
    try:
        yield lease
    finally:
        if lease:
            lease.release()


def holder(folder: Path) -> Holder | None:
    """Return who holds a folder's lease; None if nobody does. One on another machine may have died meanwhile."""
    number, beat = newest(folder)
    if not (beat := _holder(beat)):
        return None
    silent = 0.0
    with suppress(OSError):
        silent = max(0.0, time.time() - _path(folder, number).stat().st_mtime)
    return Holder(beat.host, beat.since, silent, beat.idle + silent)


def newest(folder: Path) -> tuple[int, Heartbeat | None]:
    """Return the number and content of a folder's newest lease; (0, None) if there is none.

    The content is an unknown process's where it cannot be read, as at the moment when it is made. What is no file is
    nobody's lease, and only its number counts.
    """
    number = max(_numbers(folder), default=0)
    if not number:
        return 0, None
    path = _path(folder, number)
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return number, Heartbeat(released=True)
        return number, Heartbeat.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return number, Heartbeat()


def _holder(beat: Heartbeat | None) -> Heartbeat | None:
    return None if beat is None or beat.released or beat.is_dead else beat


def _numbers(folder: Path) -> list[int]:
    try:
        names = [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [int(name.removeprefix(PREFIX)) for name in names if name.startswith(PREFIX) and name[6:].isdecimal()]


def _path(folder: Path, number: int) -> Path:
    return folder / f"{PREFIX}{number}"

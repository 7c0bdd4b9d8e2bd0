"""Commands as child processes: stopped when their time is over, and all that they print in one log."""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu_run.parts import AGAIN, TimeOverError, forget_undone, read

ROOT = Path(__file__).resolve().parents[2]
"""The checkout that this file belongs to."""
GRACE = 45.0
"""Seconds that a stopped command has for its checkpoints; a second request, and 10 more seconds, end it without."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit status (None: its time was over) and what it printed."""

    status: int | None
    printed: str
    complained: str

    def text(self) -> str:
        """What it printed; TimeOverError, or RuntimeError with its last line, where it did not succeed."""
        if self.status is None:
            raise TimeOverError
        if self.status:
            raise RuntimeError(f"exit status {self.status}: {self.last}")
        return self.printed

    @property
    def last(self) -> str:
        """Its last line, where one looks for the reason of a failure."""
        return (self.complained.strip() or self.printed.strip() or "no message").splitlines()[-1]


class Children:
    """Runs commands one after the other; their output goes to ``log``."""

    def __init__(self, log: Path) -> None:
        self._log = log
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": "160"}

    def okdbench(self, words: Sequence[str], seconds: float) -> Ended:
        """A verb of the command line, with its options."""
        return self.run([sys.executable, "-m", "okdbench", *words], seconds)

    def run(self, words: Sequence[str], seconds: float) -> Ended:
        """Run the command for at most ``seconds``, and some more for its checkpoints."""
        with self._log.open("ab+") as log, tempfile.TemporaryFile() as out:
            log.write(f"\n$ {shlex.join(words)}\n".encode())
            log.flush()
            begun = log.tell()
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=self._environment, process_group=0
            )
            status: int | None = None
            try:
                status = process.wait(max(0.0, seconds))
            except subprocess.TimeoutExpired:
                pass
            finally:
                _end(process)
            log.seek(begun)
            complained = log.read()
            out.seek(0)
            printed = out.read()
            log.write(printed)
        return Ended(status, printed.decode(errors="replace"), complained.decode(errors="replace"))

    def part(self, command: Sequence[str], path: Path, seconds: float) -> None:
        """Run a Python command whose `Part` is fragile, again after every crash until it is through."""
        forget_undone(path)
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            before = read(path)
            words = [sys.executable, *command, "--seconds", f"{left:.0f}", "--output", str(path)]
            ended = self.run(words, left + 15)
            crashed = ended.status is not None and (ended.status == AGAIN or ended.status < 0)
            if not crashed or read(path) == before:
                if ended.status:
                    print(f"{shlex.join(command)}: {ended.last}", flush=True)
                break


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop it if it still runs, after it has had time for its checkpoints; kill whatever remains."""
    for patience in (GRACE, 10.0):
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

"""Items of work as child processes: stopped when their time is over, and each finding written at once."""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu_run.items import Item

ROOT = Path(__file__).resolve().parents[2]
"""The checkout that this file belongs to."""
GRACE = 5.0
"""Seconds from the request to end to the end of a process whose time is over."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit status (None: its time was over) and what it printed."""

    status: int | None
    printed: str
    complained: str

    @property
    def problem(self) -> str:
        """Why it did not succeed: its exit status and last line; "" where it did."""
        if self.status is None:
            return "its time was over"
        last = (self.complained.strip() or self.printed.strip() or "no message").splitlines()[-1]
        return f"exit status {self.status}: {last[:500]}" if self.status else ""


class Children:
    """Runs commands one after the other; their output goes to ``log``. ``packages`` is a folder of Python packages."""

    def __init__(self, log: Path, packages: Path | None = None) -> None:
        self._log = log
        folders = (packages and str(packages), str(ROOT), os.environ.get("PYTHONPATH"))
        path = os.pathsep.join(filter(None, folders))
        self._environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": "160"}

    def run(self, words: Sequence[str], seconds: float) -> Ended:
        """Run the command for at most ``seconds``."""
        with self._log.open("ab+") as log, tempfile.TemporaryFile() as out:
            log.write(f"\n$ {shlex.join(words)}\n".encode())
            log.flush()
            begun = log.tell()
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=self._environment, process_group=0
            )
            status: int | None = None
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            log.seek(begun)
            complained = log.read()
            out.seek(0)
            printed = out.read()
            log.write(printed)
        return Ended(status, printed.decode(errors="replace"), complained.decode(errors="replace"))


def perform(items: Iterable[Item], path: Path, ends: float, children: Children) -> dict[str, Any]:
    """Do the items one after the other until the clock says ``ends``; return what ``path`` then holds.

    An item is begun if its usual time is left. Its entry has what it ``found`` (of one that was stopped, as much as it
    had written), an ``error`` or why it was ``skipped``, and its ``seconds``.
    """
    findings: dict[str, Any] = {}
    for item in items:
        left = ends - time.monotonic()
        if left < item.seconds:
            entry: dict[str, Any] = {"skipped": f"{max(0.0, left):.0f} s left, about {item.seconds:.0f} s needed"}
        else:
            entry = _perform(item, min(item.limit, left - GRACE), children)
        findings[item.name] = entry
        whole = path.with_suffix(".new")
        whole.write_text(json.dumps(findings, indent=1) + "\n")
        whole.replace(path)
        said = entry.get("error") or entry.get("skipped") or "done"
        print(f"{item.name}: {said} ({entry.get('seconds', 0)} s; {ends - time.monotonic():.0f} s left)", flush=True)
    return findings


def _perform(item: Item, seconds: float, children: Children) -> dict[str, Any]:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "found.json")
        ended = children.run(
            [sys.executable, *item.words, *(() if item.prints else ("--output", str(output)))], seconds
        )
        entry: dict[str, Any] = {"seconds": round(time.monotonic() - begun, 1)}
        if item.prints:
            entry["found"] = ended.printed
        else:
            with suppress(OSError, ValueError):  # nothing was written, or not all of it
                content = json.loads(output.read_text())
                entry["found"] = content["measurements"][0] if "measurements" in content else content
    if ended.problem:
        entry["error"] = ended.problem
    return entry

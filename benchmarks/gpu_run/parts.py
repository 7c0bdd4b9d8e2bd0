"""What all parts of the run share: a clock, and a file of findings that is complete after every item."""

import json
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

DIED = "the process died in it"
AGAIN = 75
"""Exit status by which a fragile part asks for a new process."""


class TimeOverError(Exception):
    """An item's time was over before it was done; it may be tried again."""


class Part:
    """Items of work, one after the other, until the time is over; the finding or the error of each goes to a file.

    The file is written before and after every item, so that a part that is killed keeps its findings, and a part with
    the same file resumes: an item that was found or has failed is not tried again. A ``fragile`` part exits after an
    error, since a GPU that has failed once may fail from then on: start it again.
    """

    def __init__(self, path: Path, seconds: float, fragile: bool = False) -> None:
        self._path, self._fragile = path, fragile
        self._ends = time.monotonic() + seconds
        self.findings = read(path)
        for entry in self.findings.values():
            if "begun" in entry:
                entry["error"] = DIED
                del entry["begun"]

    @property
    def left(self) -> float:
        """Seconds."""
        return self._ends - time.monotonic()

    def item(self, name: str, work: Callable[[], Any], needs: float = 0.0) -> Any:
        """Return what ``work`` found, as JSON values; None if it fails or if less than ``needs`` seconds are left."""
        before = self.findings.get(name, {})
        if "found" in before or "error" in before:
            return before.get("found")
        if self.left < needs:
            return self._tell(name, {"skipped": f"{max(0.0, self.left):.0f} s left, about {needs:.0f} s needed"})
        begun = time.monotonic()
        self._keep(name, {"begun": True})
        try:
            entry = {"found": work()}
        except TimeOverError:
            entry = {"skipped": "its time was over"}
        except Exception as error:
            traceback.print_exc()
            entry = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
        found = self._tell(name, {**entry, "seconds": round(time.monotonic() - begun, 1)})
        if self._fragile and "error" in entry:
            raise SystemExit(AGAIN)
        return found

    def _tell(self, name: str, entry: dict[str, Any]) -> Any:
        said = entry.get("error") or entry.get("skipped") or "done"
        print(f"{name}: {said} ({entry.get('seconds', 0)} s; {self.left:.0f} s left)", flush=True)
        self._keep(name, entry)
        return entry.get("found")

    def _keep(self, name: str, entry: dict[str, Any]) -> None:
        self.findings[name] = entry
        self._path.parent.mkdir(parents=True, exist_ok=True)
        whole = self._path.with_suffix(".new")
        whole.write_text(json.dumps(self.findings, indent=1) + "\n")
        whole.replace(self._path)


def found(findings: Mapping[str, Any], name: str) -> Any:
    """What an item found; None where it failed, was skipped or was not reached."""
    return findings.get(name, {}).get("found")


def forget_undone(path: Path) -> None:
    """Let items be tried again that were skipped, or were in work when their process was stopped."""
    if findings := read(path):
        done = {name: entry for name, entry in findings.items() if "found" in entry or "error" in entry}
        path.write_text(json.dumps(done, indent=1) + "\n")


def read(path: Path) -> dict[str, Any]:
    """The findings in a part's file; none where there is no file."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content

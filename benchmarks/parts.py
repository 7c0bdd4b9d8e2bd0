"""What the parts of on_gpu.py share: a clock, and a file of findings that is complete after every item."""

import json
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Part:
    """Items of work, one after the other, until the time is over; each leaves its finding, or its error, in a file.

    The file is written after every item, so that a part which is killed keeps what it has found.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._ends = time.monotonic() + seconds
        self.findings: dict[str, Any] = {}

    @property
    def left(self) -> float:
        """Seconds."""
        return self._ends - time.monotonic()

    def item(self, name: str, work: Callable[[], Any], needs: float = 0.0) -> Any:
        """What ``work`` found (JSON holds it); None where it failed, or where less than ``needs`` seconds are left."""
        if self.left < needs:
            return self._keep(name, {"skipped": f"{max(0.0, self.left):.0f} s left, about {needs:.0f} s needed"})
        begun = time.monotonic()
        try:
            found = {"found": work()}
        except Exception as error:
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
        return self._keep(name, {**found, "seconds": round(time.monotonic() - begun, 1)})

    def _keep(self, name: str, entry: dict[str, Any]) -> Any:
        said = entry.get("error") or entry.get("skipped") or "done"
        print(f"{name}: {said} ({entry.get('seconds', 0)} s; {self.left:.0f} s left)", flush=True)
        self.findings[name] = entry
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.findings, indent=1) + "\n")
        return entry.get("found")


def found(findings: Mapping[str, Any], name: str) -> Any:
    """What an item found; None where it failed, was skipped or was not reached."""
    return findings.get(name, {}).get("found")


def read(path: Path) -> dict[str, Any]:
    """The findings in a part's file; none where there is no file."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content

"""What a run writes while it trains: one line per epoch for ever, and where it stands now."""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from okdbench.files import atomic_write, write_json
from okdbench.runs.folder import METRICS, PROGRESS


class Journal:
    """The epochs recorded so far, in memory and in ``metrics.jsonl``.

    Where not ``writes``, another process has the files: this journal starts empty and stays in memory.
    """

    def __init__(self, folder: Path, epochs_done: int, writes: bool = True) -> None:
        self._path = folder / METRICS
        self._progress = folder / PROGRESS
        self._last = 0.0
        self._writes = writes
        self.lines: list[dict[str, Any]] = []
        if not writes:
            return
        self.lines = self._complete_lines()[:epochs_done]
        if len(self.lines) < epochs_done:
            raise RuntimeError(f"{self._path} holds {len(self.lines)} epochs but the checkpoint is after {epochs_done}")
        with atomic_write(self._path) as file:
            file.writelines(json.dumps(line) + "\n" for line in self.lines)

    def _complete_lines(self) -> list[dict[str, Any]]:
        """Lines written whole: a kill may have torn the last one, and later epochs are trained again."""
        lines = []
        for text in self._path.read_text().splitlines() if self._path.exists() else []:
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
        return lines

    def append(self, line: dict[str, Any]) -> None:
        """Add one epoch, on disk before this returns."""
        if self._writes:
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        self.lines.append(line)

    def due(self, interval: float = 0.5) -> bool:
        """Whether it is time to say where training stands."""
        return self._writes and time.monotonic() - self._last >= interval

    def progress(self, **state: Any) -> None:
        """Say where training stands, for whoever watches; numbers that are not finite become null."""
        if not self._writes:
            return
        self._last = time.monotonic()
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in state.items()}
        write_json(self._progress, {**clean, "time": time.time()}, durable=False)

"""What a run writes while it trains: a line for every epoch, and where it stands now."""

import time

from okdbench.runs.folder import RunFolder
from okdbench.runs.records import Epoch, Snapshot


class Journal:
    """The epochs recorded so far, in memory and in the run's folder; the first ``epochs_done`` of it are kept.

    Unless it ``writes``, another process has the files: this journal starts empty and stays in memory.
    """

    def __init__(self, folder: RunFolder, epochs_done: int, writes: bool = True) -> None:
        self._folder, self._writes = folder, writes
        self._last = 0.0
        self.epochs: list[Epoch] = []
        if not writes:
            return
        self.epochs = list(folder.epochs[:epochs_done])
        if (found := len(self.epochs)) < epochs_done:
            raise RuntimeError(f"{folder} has the metrics of {found} epochs but a checkpoint after {epochs_done}")
        folder.write_epochs(self.epochs)

    def append(self, epoch: Epoch) -> None:
        """Add one epoch, on disk before this returns."""
        if self._writes:
            self._folder.append_epoch(epoch)
        self.epochs.append(epoch)

    def due(self, interval: float = 0.5) -> bool:
        """Return whether the last progress report is more than ``interval`` seconds old."""
        return self._writes and time.monotonic() - self._last >= interval

    def progress(self, snapshot: Snapshot) -> None:
        """Report where training stands."""
        if self._writes:
            self._last = time.monotonic()
            self._folder.write_progress(snapshot)

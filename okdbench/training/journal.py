"""What a run writes while it trains: a line for every epoch, and where it stands now."""

import time
from collections.abc import Sequence

from okdbench.errors import UsageError
from okdbench.runs.folder import RunFolder
from okdbench.runs.records import Epoch, Snapshot
from okdbench.words import count


class Journal:
    """The epochs recorded so far, in memory and in the run's folder, where they are repaired if they differ.

    Unless it ``writes``, another process has the files, and this journal stays in memory.
    """

    def __init__(self, folder: RunFolder, epochs: Sequence[Epoch], writes: bool = True) -> None:
        self._folder, self._writes = folder, writes
        self._last = 0.0
        self.epochs = list(epochs)
        if not writes:
            return
        self._identity = folder.identity
        self.repair()
        folder.write_epochs(self.epochs)

    def append(self, epoch: Epoch) -> None:
        """Add one epoch, on disk before this returns."""
        if self._writes:
            self.check()
            self.repair()
            self._folder.append_epoch(epoch)
        self.epochs.append(epoch)

    def check(self) -> None:
        """Raise UsageError if the run's folder was moved or deleted, so that no half of it is made again."""
        if self._writes and self._folder.identity != self._identity:
            raise UsageError(f"{self._folder}: was moved or deleted while the run was trained; run again")

    def repair(self) -> None:
        """Write the epochs again, and say so, unless the file begins with them."""
        try:
            found = list(self._folder.epochs[: len(self.epochs)])
        except UsageError:
            found = None
        if self._writes and found != self.epochs:
            print(f"metrics.jsonl: damaged; written again with {count(len(self.epochs), 'epoch')}", flush=True)
            self._folder.write_epochs(self.epochs)

    def due(self, interval: float = 0.5) -> bool:
        """Return whether the last progress report is more than ``interval`` seconds old."""
        return self._writes and time.monotonic() - self._last >= interval

    def progress(self, snapshot: Snapshot) -> None:
        """Report where training stands."""
        if self._writes:
            self.check()
            self._last = time.monotonic()
            self._folder.write_progress(snapshot)

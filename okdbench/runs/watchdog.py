"""Ends a process whose work does not advance, with the stacks of its threads in its log."""

import faulthandler
import os
import signal
import threading
import time
from typing import Final

from okdbench.runs.folder import Exit

FIRST_STEP: Final = 1800.0
"""Seconds that work always has for its first step, in which images are packed and losses compiled."""
_PERIOD = 1.0
"""Seconds between two looks."""
_GRACE = 30.0
"""Seconds after which the system ends a process that lets no thread look."""


class Watchdog:
    """Ends this process with `Exit.stalled` when ``limit`` seconds have passed since `progressed` (0: never).

    A thread looks. Where that thread cannot run, because another one keeps the interpreter's lock, an alarm of the
    system writes the stacks a little later and ends the process by SIGALRM; `exit_status` reads that as the same.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        if limit:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            faulthandler.register(signal.SIGALRM, file=2, chain=True)  # after the stacks the default: it ends
        self.begin()
        if limit:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def begin(self) -> None:
        """Note that work begins, whose first step may take longer."""
        self._allow(max(self._limit, FIRST_STEP))

    def progressed(self) -> None:
        """Note that the work has advanced."""
        self._allow(self._limit)

    def _allow(self, seconds: float) -> None:
        self._now = time.monotonic(), seconds
        if self._limit:
            signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE)

    def _watch(self) -> None:
        while True:
            advanced, allowed = self._now
            if (idle := time.monotonic() - advanced) > allowed:
                break
            time.sleep(_PERIOD)
        os.write(2, f"no progress for {idle:.0f} s (limit: {allowed:.0f} s); the process stands at:\n".encode())
        faulthandler.dump_traceback(2)
        os._exit(Exit.stalled)


def exit_status(code: int) -> int:
    """Return the exit status of a worker whose process has ended with this code, -N after signal N."""
    return Exit.stalled if code == -signal.SIGALRM else code

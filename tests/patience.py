"""How long tests wait for processes."""

import time
from collections.abc import Callable
from subprocess import Popen
from typing import Any

PATIENCE = 1200.0
"""Seconds after which a process that does not end, or does not come so far, counts as hung; on an idle machine each
needs a small part of this, so that no test fails because a machine is busy."""


def wait_for(condition: Callable[[], Any], process: "Popen[Any] | None" = None, *, seconds: float = PATIENCE) -> Any:
    """The first true value of the condition, for which the process, where one is given, must not have ended.

    ``seconds`` is for what is promised to come soon.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        assert process is None or process.poll() is None, f"the process ended too early, with status {process.poll()}"
        time.sleep(0.01)
    return found

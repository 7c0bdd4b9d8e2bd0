"""Which machine this is, and whether a process on it still runs."""

import os
import platform
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


@cache
def machine() -> str:
    """Return what tells this machine apart from others, and from itself after a restart; containers are machines."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def start_of(pid: int) -> str:
    """Return when a process of this machine started, in the system's own units; "" if that is not known."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def still_runs(pid: int, start: str) -> bool:
    """Return whether the process that has this number, and started then, still runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return start_of(pid) == start and not _zombie(pid)


def _zombie(pid: int) -> bool:
    """Return whether the process has ended and is only waited for."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except (OSError, IndexError):
        return False

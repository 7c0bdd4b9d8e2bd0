"""Several processes for one run on this machine: what ``python -m okdbench.worker RUN_DIR --processes 2`` does.

Each is a worker of the same run, and all end when one fails. They find each other through a file, so nothing listens
on a port that others can reach, and no port is taken. torchrun would not do: it leaves no time for a checkpoint
after a signal, and counts the processes that it ends itself among those that failed.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from okdbench.runs.folder import Exit, RunFolder
from okdbench.runs.watchdog import exit_status

STOP = "OKDBENCH_STOP"
"""Environment variable: the file whose presence asks the processes of a run to stop."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
STORE = "OKDBENCH_STORE"
"""Environment variable: the file through which the processes of a run find each other."""
_LAUNCHER_VARIABLES = {
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "NODE_RANK", "ROLE_NAME"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT"),
}
_INTERVAL = 0.2
"""Seconds between two checks for that file, and for processes that have ended."""
_PATIENCE = 30.0
"""Seconds that the others have to end by themselves once a process has failed."""


def on_stop_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    """Call ``handler`` when somebody wants this process to stop; SIGUSR2 is Slurm's before a job's time is over."""
    for number in STOP_SIGNALS:
        signal.signal(number, handler)


def launch(processes: int, folder: RunFolder, options: Sequence[str], threads: int) -> int:
    """Start ``processes`` workers of one run with these options and wait for them; the exit status."""
    with tempfile.TemporaryDirectory(prefix="okdbench-") as shared:
        request = Path(shared) / "stop"
        on_stop_signals(lambda number, frame: request.touch())
        together = {"WORLD_SIZE": str(processes), STOP: str(request), STORE: str(Path(shared) / "store")}
        together |= {name: os.environ.get(name, default) for name, default in _defaults(threads).items()}
        words = [sys.executable, "-P", "-m", "okdbench.worker", str(folder), *options]
        running = []
        for rank in range(processes):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            running.append(subprocess.Popen(words, env={**os.environ, **together, **place}))
        failed = _first_to_fail(running)
    status = combine_exit_codes(folder, processes, failed) if failed else Exit.done
    if status == Exit.stalled:
        folder.clear_failure()  # of a process that missed the one that stalled
    return status


def _first_to_fail(running: Sequence[subprocess.Popen[bytes]]) -> dict[int, int]:
    """Wait for the processes; return the exit codes of those that failed first, by rank. The others are ended."""
    while None in (codes := [process.poll() for process in running]) and not any(codes):
        time.sleep(_INTERVAL)
    # Looked at again, since one may have ended before the one that was seen first.
    failed = {rank: exit_status(code) for rank, process in enumerate(running) if (code := process.poll())}
    deadline = time.monotonic() + _PATIENCE
    for process in running if failed else ():
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        process.kill()
        process.wait()
    return failed


def _defaults(threads: int) -> dict[str, str]:
    """Return what the environment of the processes says if the user's does not: they meet on this machine alone."""
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
    interfaces = {f"{backend}_SOCKET_IFNAME": loopback for backend in ("GLOO", "NCCL") if loopback}
    return {"OMP_NUM_THREADS": str(max(threads, 1)), **interfaces}


def combine_exit_codes(folder: RunFolder, processes: int, codes: dict[int, int]) -> int:
    """Combine the processes' exit codes into one; a process that was killed leaves no reason, so this writes it."""
    for rank, code in codes.items():
        if code < 0:
            name = signal.Signals(-code).name
            hint = "; often the machine ran out of memory: try a smaller batch" if name == "SIGKILL" else ""
            folder.write_failure(f"process {rank} of {processes} died of {name}{hint}")
            return Exit.failed
    # The others may have failed because a process of that status has gone.
    decisive = (Exit.busy, Exit.stalled, Exit.disk_full, Exit.failed)
    return next((each for each in decisive if each in codes.values()), max(codes.values()))


def worker_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker whose engine has the ``inherited`` one.

    It lacks what another program's launcher has set, by which the worker would take itself for one of several
    processes. Nothing is imported from the current folder, which is the user's.
    """
    paths = [path for path in inherited.get("PYTHONPATH", "").split(os.pathsep) if path]
    kept = {name: value for name, value in inherited.items() if not _of_launcher(name) and name != "PYTHONPATH"}
    return {**kept, "PYTHONSAFEPATH": "1", **({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})}


def _of_launcher(variable: str) -> bool:
    """Return whether torchrun, or a cluster in its place, sets this variable for each process."""
    return variable.startswith(("TORCHELASTIC_", "PET_")) or variable in _LAUNCHER_VARIABLES


def is_one_of_several() -> bool:
    """Return whether this process is one of several (or the only one) that `launch` or torchrun has started."""
    found = os.environ.keys()
    return {"RANK", "WORLD_SIZE"} <= found and ("MASTER_ADDR" in found or STORE in found)


def watch_launcher(ask_to_stop: Callable[[], None]) -> None:
    """In one of several processes: stop when the launcher asks to, and end at once when the launcher is gone.

    This needs a thread of its own, because the main thread may be waiting for a process that is gone.
    """
    parent, request = os.getppid(), os.environ.get(STOP)

    def watch_stop_file() -> None:
        while os.getppid() == parent:
            if request and Path(request).exists():
                ask_to_stop()
            time.sleep(_INTERVAL)
        os._exit(Exit.failed)

    threading.Thread(target=watch_stop_file, daemon=True).start()

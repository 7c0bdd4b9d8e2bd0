"""Several processes for one run on this machine: what ``python -m okdbench.worker RUN_DIR --processes 2`` does.

torchrun starts the processes, each a worker of the same run, and ends all when one fails. This module adds what
torchrun lacks: the processes' exit status, and time to write a checkpoint after a signal.
"""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from okdbench.runs.folder import Exit, RunFolder

STOP = "OKDBENCH_STOP"
"""Environment variable: the file whose presence asks the processes of a run to stop."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
_LAUNCHER_VARIABLES = {
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "NODE_RANK", "ROLE_NAME"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT"),
}
_INTERVAL = 0.2
"""Seconds between two checks for that file."""


def on_stop_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    """Call ``handler`` when somebody wants this process to stop; SIGUSR2 is Slurm's before a job's time is over."""
    for number in STOP_SIGNALS:
        signal.signal(number, handler)


def launch(processes: int, folder: RunFolder, options: Sequence[str], threads: int) -> int:
    """Start ``processes`` workers of one run with these options and wait for them; the exit status."""
    with tempfile.TemporaryDirectory(prefix="okdbench-") as shared:
        request = Path(shared) / "stop"
        on_stop_signals(lambda number, frame: request.touch())
        folder.clear_failure()
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.run import parse_args, run

        os.environ[STOP] = str(request)
        os.environ.setdefault("OMP_NUM_THREADS", str(max(threads, 1)))
        # A signal that torchrun handles itself is answered by SIGKILL after 30 seconds.
        ours = ["--standalone", "--signals-to-handle", "SIGQUIT", "--nproc-per-node", str(processes)]
        try:
            run(parse_args([*ours, "-m", "okdbench.worker", str(folder), *options]))  # type: ignore[no-untyped-call]
        except ChildFailedError as error:
            return combine_exit_codes(
                folder, processes, {rank: failure.exitcode for rank, failure in error.failures.items()}
            )
    return Exit.done


def combine_exit_codes(folder: RunFolder, processes: int, codes: dict[int, int]) -> int:
    """Combine the processes' exit codes into one; a process that was killed leaves no reason, so this writes it."""
    for rank, code in codes.items():
        if code < 0:
            name = signal.Signals(-code).name
            hint = "; often the machine ran out of memory: try a smaller batch" if name == "SIGKILL" else ""
            folder.write_failure(f"process {rank} of {processes} died of {name}{hint}")
            return Exit.failed
    worst = next((each for each in (Exit.disk_full, Exit.failed) if each in codes.values()), None)
    return worst or max(codes.values())


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


def started_by_torchrun() -> bool:
    """Return whether this process is one of several (or the only one) that torchrun has started."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys()


def watch(ask_to_stop: Callable[[], None]) -> None:
    """In a process that torchrun started: stop when the launcher asks to, and end at once when the launcher is gone.

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

"""Several processes for one run on this machine: what ``python -m okdbench.worker RUN_DIR --processes 2`` does.

torchrun starts the processes, each a worker of the same run, and ends all when one fails. It does not hand on how they
ended, and lets them die half a minute after a signal, checkpoint or not: both are seen to here.
"""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from okdbench.files import write_json
from okdbench.runs.folder import FAILURE, Exit

STOP = "OKDBENCH_STOP"
"""Environment variable: the file whose presence asks the processes of a run to stop."""
_INTERVAL = 0.2
"""Seconds between two looks at it."""


def launch(processes: int, folder: Path, options: Sequence[str], threads: int) -> int:
    """Start so many workers of the run in ``folder`` with these options and wait for them; the exit status."""
    with tempfile.TemporaryDirectory(prefix="okdbench-") as shared:
        request = Path(shared) / "stop"

        def stop(number: int, frame: FrameType | None) -> None:
            request.touch()

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        (folder / FAILURE).unlink(missing_ok=True)
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.run import parse_args, run

        os.environ[STOP] = str(request)
        os.environ.setdefault("OMP_NUM_THREADS", str(max(threads, 1)))
        # A signal that torchrun handles itself is answered by SIGKILL after 30 seconds.
        ours = ["--standalone", "--signals-to-handle", "SIGQUIT", "--nproc-per-node", str(processes)]
        try:
            run(parse_args([*ours, "-m", "okdbench.worker", str(folder), *options]))  # type: ignore[no-untyped-call]
        except ChildFailedError as error:
            ends = {rank: failure.exitcode for rank, failure in error.failures.items()}
            return _status(folder, processes, ends)
    return Exit.done


def _status(folder: Path, processes: int, ends: dict[int, int]) -> int:
    """The exit status of the whole where these processes ended so; for one that was killed, the reason is told here."""
    for rank, status in ends.items():
        if status < 0:
            name = signal.Signals(-status).name
            hint = "; often the machine ran out of memory: try a smaller batch" if name == "SIGKILL" else ""
            error = f"process {rank} of {processes} died of {name}{hint}"
            write_json(folder / FAILURE, {"error": error, "time": time.time()})
            return Exit.failed
    return Exit.failed if Exit.failed in ends.values() else max(ends.values())


def started_by_torchrun() -> bool:
    """Whether this process is one of several (or the only one) that torchrun has started."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys()


def watch(ask_to_stop: Callable[[], None]) -> None:
    """In a process that torchrun started: stop when the launcher asks to, and end at once when there is none any more.

    In a thread of its own, because the main thread may be waiting for a process that has gone.
    """
    parent, request = os.getppid(), os.environ.get(STOP)

    def look() -> None:
        while os.getppid() == parent:
            if request and Path(request).exists():
                ask_to_stop()
            time.sleep(_INTERVAL)
        os._exit(Exit.failed)

    threading.Thread(target=look, daemon=True).start()

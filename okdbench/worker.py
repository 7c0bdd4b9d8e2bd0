"""Trains one run in its folder: ``python -m okdbench.worker RUN_DIR --data DIR --device cpu --threads 2``.

Engines start it; nothing but files goes back. Exit status: 0 the record is written (finished or diverged), 1 failed
(``failure.json`` says why), 75 interrupted after writing a checkpoint, 76 another worker holds the run.
"""

import argparse
import fcntl
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from okdbench.config import RunConfig
from okdbench.files import read_json, write_json

DONE, FAILED, INTERRUPTED, BUSY = 0, 1, 75, 76


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the run of the given folder; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m okdbench.worker", description="Train one run in its folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves the choice to torch")
    options = parser.parse_args(arguments)
    with (options.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return BUSY
        return _train(options.folder, options.data, options.device, options.threads)


def _train(folder: Path, root: Path, device: str, threads: int) -> int:
    """Train with the lock held."""
    stopping: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.append(number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    failure = folder / "failure.json"
    failure.unlink(missing_ok=True)
    try:
        import torch

        from okdbench.training import RECORD, Interrupted, Trainer

        if (folder / RECORD).exists():
            return DONE
        if threads:
            torch.set_num_threads(threads)
        torch.backends.cudnn.deterministic = True
        config = RunConfig.model_validate(read_json(folder / "config.json"))
        try:
            Trainer(config, folder, root, torch.device(device), stop=lambda: bool(stopping)).train()
        except Interrupted:
            return INTERRUPTED
    except Exception as error:
        traceback.print_exc()
        message = " ".join(str(error).split()) or "no message"
        write_json(failure, {"error": f"{type(error).__name__}: {message}", "time": time.time()})
        return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())

"""Executes one run in its folder: ``python -m okdbench.worker RUN_DIR --data DIR --device cpu --threads 2``.

Engines start it; nothing but files goes back. Exit status: 0 the record is written (finished or diverged), 1 failed
(``failure.json`` says why), 75 interrupted (a training has written a checkpoint), 76 another worker holds the run.
"""

import argparse
import fcntl
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from okdbench.config import RunConfig, SimulationConfig
from okdbench.files import read_json, write_json

DONE, FAILED, INTERRUPTED, BUSY = 0, 1, 75, 76


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute the run of the given folder; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m okdbench.worker", description="Execute one run in its folder.")
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
        return _execute(options)


def _execute(options: argparse.Namespace) -> int:
    """Do the run with the lock held, as its kind wants it."""
    stopping: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.append(number)

    _on_signals(stop)
    failure = options.folder / "failure.json"
    failure.unlink(missing_ok=True)
    try:
        from okdbench.training import RECORD, Interrupted, checkpoint

        if (options.folder / RECORD).exists():
            checkpoint.clear(options.folder)
            return DONE
        config = read_json(options.folder / "config.json")
        try:
            KINDS[config.get("kind", "training")](config, options, lambda: bool(stopping))
        except Interrupted:
            return INTERRUPTED
    except Exception as error:
        traceback.print_exc()
        message = " ".join(str(error).split()) or "no message"
        write_json(failure, {"error": f"{type(error).__name__}: {message}", "time": time.time()})
        return FAILED
    return DONE


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    """What to do when somebody wants the worker to stop."""
    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)


def _train(config: Mapping[str, Any], options: argparse.Namespace, stop: Callable[[], bool]) -> None:
    """One training; when ``stop`` says so, it writes a checkpoint and ends."""
    import torch

    from okdbench.training import Trainer

    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cudnn.deterministic = True
    run = RunConfig.model_validate(config)
    Trainer(run, options.folder, options.data, torch.device(options.device), stop).train()


def _simulate(config: Mapping[str, Any], options: argparse.Namespace, stop: Callable[[], bool]) -> None:
    """One simulation, on the CPU; it takes seconds and has nothing to save, so that a signal ends it anywhere."""
    import torch

    from okdbench.studies.simulation import perform
    from okdbench.training import RECORD, Interrupted
    from okdbench.training.environment import environment

    def leave(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    _on_signals(leave)
    if stop():
        raise Interrupted
    record = perform(SimulationConfig.model_validate(config), environment(torch.device("cpu")))
    write_json(options.folder / RECORD, record.model_dump(mode="json"))


KINDS = {"training": _train, "simulation": _simulate}
"""What executes a configuration, by its ``kind``."""


if __name__ == "__main__":
    sys.exit(main())

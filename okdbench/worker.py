"""Executes one run in its folder: ``python -m okdbench.worker RUN_DIR --data DIR --device cpu --threads 2``.

Engines start it; nothing but files goes back, and an exit status (`okdbench.run_folder.Exit`).
"""

import argparse
import fcntl
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from okdbench.config import RunConfig, SimulationConfig
from okdbench.errors import UsageError
from okdbench.execution import Execution
from okdbench.files import read_json, write_json
from okdbench.launch import launch, started_by_torchrun, watch
from okdbench.run_folder import CONFIG, FAILURE, LOCK, RECORD, Exit

if TYPE_CHECKING:
    from okdbench.training.distributed import Processes


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute the run of the given folder; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m okdbench.worker", description="Execute one run in its folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves the choice to torch")
    Execution.add_options(parser)
    parser.add_argument("--processes", type=int, default=0, help="train with so many processes, started by torchrun")
    options = parser.parse_args(arguments)
    if options.processes:
        each = [f"--{name}={value}" for name, value in vars(options).items() if name not in ("folder", "processes")]
        return _guarded(options.folder, lambda stop: launch(options.processes, options.folder, each, options.threads))
    return _together(options) if started_by_torchrun() else _alone(options)


def _alone(options: argparse.Namespace) -> int:
    """The whole run in this process."""
    with _lock(options.folder) as held:
        if not held:
            return Exit.busy
        (options.folder / FAILURE).unlink(missing_ok=True)
        return _guarded(options.folder, lambda stop: _execute(options, stop))


def _together(options: argparse.Namespace) -> int:
    """This process's part of the run; the first process holds the lock."""
    if os.environ["RANK"] == "0":
        (options.folder / FAILURE).unlink(missing_ok=True)

    def work(stop: list[int]) -> int:
        from okdbench.training.distributed import joined, own_device

        watch(lambda: stop.append(signal.SIGINT))
        with (
            joined(own_device(options.device)) as processes,
            _lock(options.folder) if processes.first else nullcontext(True) as held,
        ):
            return _execute(options, stop, processes) if processes.from_first(held) else Exit.busy

    status = _guarded(options.folder, work)
    if status:
        # Leaving in an orderly way would wait for processes that may be gone.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Whether this process holds the run's lock, which it does until the context ends."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _guarded(folder: Path, work: Callable[[list[int]], int]) -> int:
    """The exit status of ``work``, which gets a list of the signals that asked it to stop; an error goes to a file."""
    stopping: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.append(number)

    _on_signals(stop)
    try:
        return work(stopping)
    except Exception as error:
        traceback.print_exc()
        message = " ".join(str(error).split()) or "no message"
        # Of several processes the first to fail says why; the others fail because it has gone.
        if not (folder / FAILURE).exists():
            write_json(folder / FAILURE, {"error": f"{type(error).__name__}: {message}", "time": time.time()})
        return Exit.failed


def _execute(options: argparse.Namespace, stopping: list[int], processes: "Processes | None" = None) -> int:
    """Do the run with the lock held, as its kind wants it."""
    from okdbench.training import Interrupted, checkpoint
    from okdbench.training.distributed import ALONE

    processes = processes or ALONE
    if processes.from_first((options.folder / RECORD).exists()):
        if processes.first:
            checkpoint.clear(options.folder)
        return Exit.done
    config = read_json(options.folder / CONFIG)
    try:
        KINDS[config.get("kind", "training")](config, options, lambda: bool(stopping), processes)
    except Interrupted:
        return Exit.interrupted
    return Exit.done


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    """What to do when somebody wants the worker to stop."""
    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)


def _train(
    config: Mapping[str, Any], options: argparse.Namespace, stop: Callable[[], bool], processes: "Processes"
) -> None:
    """One training; when ``stop`` says so, it writes a checkpoint and ends."""
    import torch

    from okdbench.training import Trainer
    from okdbench.training.computation import settle
    from okdbench.training.distributed import own_device

    if options.threads:
        torch.set_num_threads(options.threads)
    execution = Execution.from_options(options)
    device = own_device(options.device)
    settle(execution.algorithms, device)
    run = RunConfig.model_validate(config)
    _refuse_other_plugins(run)
    trainer = Trainer(run, options.folder, options.data, device, stop, processes, execution)
    if processes.first:
        print(trainer.computation, flush=True)
    trainer.train()


def _refuse_other_plugins(run: RunConfig) -> None:
    """UsageError where a plugin is no longer what it was when the run got its identity."""
    from okdbench import methods

    for each in filter(None, (run, run.teacher)):
        now = methods.origins(each.method, each.network)
        if now != each.plugins:
            then = f"{each.plugins} then, {now} now"
            raise UsageError(f"plugins have changed since the run was planned ({then}); give the same command again")


def _simulate(
    config: Mapping[str, Any], options: argparse.Namespace, stop: Callable[[], bool], processes: "Processes"
) -> None:
    """One simulation, on the CPU; it takes seconds and has nothing to save, so that a signal ends it anywhere.

    Several processes would all do the same: the first does it.
    """
    import torch

    from okdbench.studies.simulation import perform
    from okdbench.training import Interrupted
    from okdbench.training.environment import environment

    def leave(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    if not processes.first:
        return
    _on_signals(leave)
    if stop():
        raise Interrupted
    record = perform(SimulationConfig.model_validate(config), environment(torch.device("cpu")))
    write_json(options.folder / RECORD, record.model_dump(mode="json"))


KINDS = {"training": _train, "simulation": _simulate}
"""What executes a configuration, by its ``kind``."""


if __name__ == "__main__":
    sys.exit(main())

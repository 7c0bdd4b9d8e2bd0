"""Executes runs in their folders: ``python -m okdbench.worker RUN_DIR... --data DIR --device cpu --threads 2``.

Engines start it; nothing but files goes back, and an exit status (`okdbench.runs.folder.Exit`; of several runs the
highest). Several runs take turns, step by step.
"""

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from okdbench.config import RunConfig, SimulationConfig
from okdbench.errors import UsageError
from okdbench.files import read_json, write_json
from okdbench.runs.execution import Execution, let_threads_sleep
from okdbench.runs.folder import CONFIG, FAILURE, LOG, RECORD, Exit, locked
from okdbench.runs.interleave import Turns, drain, in_context, round_robin
from okdbench.runs.launch import launch, started_by_torchrun, watch

if TYPE_CHECKING:
    from okdbench.training.distributed import Processes


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute the runs of the given folders; the exit status."""
    let_threads_sleep()
    parser = argparse.ArgumentParser(prog="python -m okdbench.worker", description="Execute runs in their folders.")
    parser.add_argument("folders", type=Path, nargs="+", metavar="folder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves the choice to torch")
    Execution.add_options(parser)
    parser.add_argument("--processes", type=int, default=0, help="train with so many processes, started by torchrun")
    options = parser.parse_args(arguments)
    [folder, *others] = options.folders
    if others and (options.processes or started_by_torchrun()):
        parser.error("several processes train one run at a time")
    if options.processes:
        each = [f"--{name}={value}" for name, value in vars(options).items() if name not in ("folders", "processes")]
        return _guarded(folder, lambda: launch(options.processes, folder, each, options.threads))
    stopping = _signals()
    if started_by_torchrun():
        return _together(folder, options, stopping)
    return _in_turns(options, stopping) if others else drain(_alone(folder, options, stopping))


def _signals() -> list[int]:
    """A list to which every signal is added that asks this process to stop."""
    stopping: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.append(number)

    _on_signals(stop)
    return stopping


def _in_turns(options: argparse.Namespace, stopping: list[int]) -> int:
    """All runs in this process, each with a log of its own."""
    with ExitStack() as logs:
        works = []
        for folder in options.folders:
            log = logs.enter_context((folder / LOG).open("a", buffering=1))
            works.append(in_context(_alone(folder, options, stopping), partial(_printing_to, log)))
        return max(round_robin(works))


@contextmanager
def _printing_to(log: TextIO) -> Iterator[None]:
    with redirect_stdout(log), redirect_stderr(log):
        yield


def _alone(folder: Path, options: argparse.Namespace, stopping: list[int]) -> Turns[int]:
    """The whole run in this process."""
    with locked(folder) as held:
        if not held:
            return Exit.busy
        (folder / FAILURE).unlink(missing_ok=True)
        try:
            return (yield from _execute(folder, options, lambda: bool(stopping)))
        except Exception as error:
            return _failed(folder, error)


def _together(folder: Path, options: argparse.Namespace, stopping: list[int]) -> int:
    """This process's part of the run; the first process holds the lock."""
    if os.environ["RANK"] == "0":
        (folder / FAILURE).unlink(missing_ok=True)

    def work() -> int:
        from okdbench.training.distributed import joined, own_device

        watch(lambda: stopping.append(signal.SIGINT))
        with (
            joined(own_device(options.device)) as processes,
            locked(folder) if processes.first else nullcontext(True) as held,
        ):
            if not processes.from_first(held):
                return Exit.busy
            return drain(_execute(folder, options, lambda: bool(stopping), processes))

    status = _guarded(folder, work)
    if status:
        # Leaving in an orderly way would wait for processes that may be gone.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _guarded(folder: Path, work: Callable[[], int]) -> int:
    """The exit status of ``work``; an error goes to a file."""
    try:
        return work()
    except Exception as error:
        return _failed(folder, error)


def _failed(folder: Path, error: Exception) -> int:
    """Tell the error in the log, and in a file for the engine."""
    traceback.print_exception(error)
    message = " ".join(str(error).split()) or "no message"
    # Of several processes the first to fail says why; the others fail because it has gone.
    if not (folder / FAILURE).exists():
        write_json(folder / FAILURE, {"error": f"{type(error).__name__}: {message}", "time": time.time()})
    return Exit.failed


def _execute(
    folder: Path, options: argparse.Namespace, stop: Callable[[], bool], processes: "Processes | None" = None
) -> Turns[int]:
    """Do the run with the lock held, as its kind wants it."""
    from okdbench.training import Interrupted, checkpoint
    from okdbench.training.distributed import ALONE

    processes = processes or ALONE
    if processes.from_first((folder / RECORD).exists()):
        if processes.first:
            checkpoint.clear(folder)
        return Exit.done
    config = read_json(folder / CONFIG)
    try:
        yield from KINDS[config.get("kind", "training")](config, folder, options, stop, processes)
    except Interrupted:
        return Exit.interrupted
    return Exit.done


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    """What to do when somebody wants the worker to stop."""
    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)


def _train(
    config: Mapping[str, Any],
    folder: Path,
    options: argparse.Namespace,
    stop: Callable[[], bool],
    processes: "Processes",
) -> Iterator[None]:
    """One training; when ``stop`` says so, it writes a checkpoint and ends."""
    import torch

    from okdbench.training import Trainer
    from okdbench.training.backends import in_own_stream
    from okdbench.training.computation import configure_process
    from okdbench.training.distributed import own_device

    if options.threads:
        torch.set_num_threads(options.threads)
    execution = Execution.from_options(options)
    device = own_device(options.device)
    configure_process(execution.algorithms, device)
    run = RunConfig.model_validate(config)
    _refuse_other_plugins(run)

    def turns() -> Turns[None]:
        trainer = Trainer(run, folder, options.data, device, stop, processes, execution)
        if processes.first:
            print(trainer.computation, flush=True)
        yield from trainer.turns()

    yield from in_own_stream(turns(), device)


def _refuse_other_plugins(run: RunConfig) -> None:
    """UsageError where a plugin is no longer what it was when the run got its identity."""
    from okdbench import methods

    for each in filter(None, (run, run.teacher)):
        now = methods.origins(each.method, each.network)
        if now != each.plugins:
            then = f"{each.plugins} then, {now} now"
            raise UsageError(f"plugins have changed since the run was planned ({then}); give the same command again")


def _simulate(
    config: Mapping[str, Any],
    folder: Path,
    options: argparse.Namespace,
    stop: Callable[[], bool],
    processes: "Processes",
) -> Iterator[None]:
    """One simulation, on the CPU, in one turn; it takes seconds and has nothing to save, so a signal ends it anywhere.

    Several processes would all do the same: the first does it.
    """
    import torch

    from okdbench.studies.simulation import perform
    from okdbench.training import Interrupted
    from okdbench.training.environment import environment

    def leave(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    yield
    if not processes.first:
        return
    _on_signals(leave)
    if stop():
        raise Interrupted
    record = perform(SimulationConfig.model_validate(config), environment(torch.device("cpu")))
    write_json(folder / RECORD, record.model_dump(mode="json"))


KINDS = {"training": _train, "simulation": _simulate}
"""What executes a configuration, by its ``kind``."""


if __name__ == "__main__":
    sys.exit(main())

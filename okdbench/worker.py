"""Executes runs in their folders: ``python -m okdbench.worker RUN_DIR... --data DIR --device cpu --threads 2``.

Engines start it and learn about it only from the files it writes and its exit status (`okdbench.runs.folder.Exit`; of
several runs the highest). Several runs take turns, step by step.
"""

import argparse
import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

from okdbench import kinds
from okdbench.errors import UsageError
from okdbench.files import FULL, DiskFull, open_to_append
from okdbench.runs.execution import DEFAULT_EXECUTION, Execution, GraphError, NotEnoughMemory, let_threads_sleep
from okdbench.runs.folder import CONFIG, FAILURE, Exit, RunFolder
from okdbench.runs.interleave import Turns, drain, in_context, round_robin
from okdbench.runs.launch import is_one_of_several, launch, on_stop_signals, watch_launcher
from okdbench.runs.lease import Lease, LeaseLost, take
from okdbench.runs.records import State
from okdbench.runs.reuse import is_ours
from okdbench.runs.watchdog import Watchdog

if TYPE_CHECKING:
    from okdbench.training.distributed import Processes


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker executes its runs: what engines put on its command line after the folders.

    ``threads`` 0 leaves their number to torch; ``processes`` 0 trains in the worker itself, n starts n more. A
    worker ends that has not advanced for ``stall_timeout`` seconds (0: never).
    """

    data: Path
    device: str = "cpu"
    threads: int = 0
    processes: int = 0
    execution: Execution = DEFAULT_EXECUTION
    stall_timeout: float = 0.0

    def arguments(self) -> list[str]:
        """Return the options as words of a command line."""
        ours = {name: value for name, value in vars(self).items() if value and name != "execution"}
        words = [f"--{name.replace('_', '-')}={value}" for name, value in ours.items()]
        return [*words, *self.execution.arguments()]

    @staticmethod
    def parse(arguments: Sequence[str] | None) -> "tuple[list[RunFolder], WorkerOptions]":
        """Read a command line (None: of this process); a wrong one ends the process with status 2."""
        parser = argparse.ArgumentParser(prog="python -m okdbench.worker", description="Execute runs in their folders.")
        parser.add_argument("folders", type=Path, nargs="+", metavar="folder")
        parser.add_argument("--data", type=Path, required=True)
        parser.add_argument("--device", default="cpu")
        parser.add_argument("--threads", type=int, default=0, help="0 leaves the choice to torch")
        parser.add_argument("--processes", type=int, default=0, help="train each run with N processes")
        parser.add_argument("--stall-timeout", type=float, default=0.0, metavar="SECONDS")
        Execution.add_options(parser)
        found = parser.parse_args(arguments)
        if len(found.folders) > 1 and (found.processes or is_one_of_several()):
            parser.error("several processes train one run at a time")
        execution = Execution.from_options(found)
        options = WorkerOptions(
            found.data, found.device, found.threads, found.processes, execution, found.stall_timeout
        )
        return [RunFolder(folder) for folder in found.folders], options


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute the runs of the given folders; the exit status."""
    let_threads_sleep()
    folders, options = WorkerOptions.parse(arguments)
    [folder, *others] = folders
    jobs = min(options.execution.jobs, len(folders))
    options = replace(options, execution=replace(options.execution, jobs=jobs))
    if options.processes:
        each = replace(options, processes=0).arguments()
        return _guarded(folder, lambda: launch(options.processes, folder, each, options.threads))
    stopping: list[int] = []
    on_stop_signals(lambda number, frame: stopping.append(number))
    dog = Watchdog(options.stall_timeout)
    if is_one_of_several():
        return _together(folder, options, stopping, dog)
    try:
        return _in_turns(folders, options, stopping, dog) if others else drain(_alone(folder, options, stopping, dog))
    except GraphError:  # ends all runs of the process
        return Exit.graph_failed


def _in_turns(folders: Sequence[RunFolder], options: WorkerOptions, stopping: list[int], dog: Watchdog) -> int:
    """Return all runs in this process, each with a log of its own."""
    with ExitStack() as logs:
        works = []
        for folder in folders:
            log = logs.enter_context(open_to_append(folder.log))
            works.append(in_context(_alone(folder, options, stopping, dog), partial(_printing_to, log)))
        try:
            return max(round_robin(works))
        except NotEnoughMemory as error:  # after the first step of the first run: the others have not begun
            return max(_failed(folder, error) for folder in folders)


@contextmanager
def _printing_to(log: IO[str]) -> Iterator[None]:
    with redirect_stdout(log), redirect_stderr(log):
        yield


def _alone(folder: RunFolder, options: WorkerOptions, stopping: list[int], dog: Watchdog) -> Turns[int]:
    """The whole run in this process."""

    def stop() -> bool:
        return bool(stopping)

    try:
        with _leased(folder, stop) as lease:
            if not lease:
                return Exit.busy
            folder.clear_failure()
            try:
                return (yield from _watched(_execute(folder, options, stop), dog, lease))
            except (GraphError, NotEnoughMemory) as error:
                print(error, flush=True)
                raise
            except Exception as error:  # told before others can have the run
                return _failed(folder, error)
    except OSError as error:  # of the lease
        return _failed(folder, error)


@contextmanager
def _leased(folder: RunFolder, stop: Callable[[], bool]) -> Iterator[Lease | None]:
    """Hold the run's lease in this context; None if another process does the run, here or for another recipe."""
    lease = take(folder.path, stop)
    if not lease:
        yield None
        return
    try:
        here = (folder.path / CONFIG).exists()  # the folder may just have been moved away
        yield lease if here and is_ours(folder.config, folder, lease, stop) else None
    finally:
        lease.release()


def _watched(work: Turns[int], dog: Watchdog, lease: Lease | None) -> Turns[int]:
    """Go on with the work as long as the lease holds (None: another process has it), and tell both of every step."""
    dog.begin()
    while True:
        if lease:
            lease.require()
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        dog.progressed()
        if lease:
            lease.progressed()
        yield


def _together(folder: RunFolder, options: WorkerOptions, stopping: list[int], dog: Watchdog) -> int:
    """This process's part of the run; the first process holds the lease."""

    def work() -> int:
        from okdbench.training.distributed import joined, own_device

        watch_launcher(lambda: stopping.append(signal.SIGINT))
        with (
            joined(own_device(options.device)) as processes,
            _leased(folder, lambda: bool(stopping)) if processes.first else nullcontext() as lease,
        ):
            if lease:
                folder.clear_failure()
            if not processes.from_first(lease is not None):
                return Exit.busy
            turns = _execute(folder, options, lambda: bool(stopping), processes)
            status = _guarded(folder, lambda: drain(_watched(turns, dog, lease)))
            if status:
                if lease:
                    lease.release()
                _leave(status)  # in an orderly way it would wait for processes that may be gone
            return status

    return _guarded(folder, work)


def _leave(status: int) -> NoReturn:
    """End this process without freeing anything."""
    with suppress(OSError):  # a full disk
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _guarded(folder: RunFolder, work: Callable[[], int]) -> int:
    """Return the exit status of ``work``; an error goes to a file."""
    try:
        return work()
    except Exception as error:
        return _failed(folder, error)


def _failed(folder: RunFolder, error: Exception) -> int:
    """Report the error in the log, and in a file for the engine; where the disk is full, the exit status says so."""
    if isinstance(error, LeaseLost):  # the folder is another process's
        print(error, flush=True)
        return Exit.busy
    if isinstance(error, OSError) and error.errno in FULL:
        error = DiskFull(f"disk full: {error.filename or folder.log}; make room and give the same command again")
    message = " ".join(str(error).split()) or "no message"
    with suppress(OSError, DiskFull):
        traceback.print_exception(error)
    with suppress(OSError, DiskFull):
        # Of several processes the first to fail says why; the others fail because it has gone.
        if folder.path.exists() and not (folder.path / FAILURE).exists():
            text = message if isinstance(error, UsageError) else f"{type(error).__name__}: {message}"
            folder.write_failure(text, _out_of_memory(error))
    return Exit.disk_full if isinstance(error, DiskFull) else Exit.failed


def _out_of_memory(error: Exception) -> bool:
    """Return whether the error says that there is too little memory, on the device or beside it."""
    torch = sys.modules.get("torch")  # loaded, if the error is one of its own
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))


def _execute(
    folder: RunFolder, options: WorkerOptions, stop: Callable[[], bool], processes: "Processes | None" = None
) -> Turns[int]:
    """Do the run, unless it is done, as its kind requires; the lease is held."""
    from okdbench.training import Interrupted
    from okdbench.training.distributed import ALONE

    processes = processes or ALONE
    if processes.first:
        folder.clear_temporaries()
    state = processes.from_first(folder.state)
    if state is State.damaged:
        raise UsageError(str(folder.reason))
    if state.done:
        if processes.first:
            folder.clear_unfinished()
        return Exit.done
    config = folder.config
    try:
        yield from kinds.get(config.kind).execute(config, folder, options, stop, processes)
    except Interrupted:
        return Exit.interrupted
    return Exit.done


if __name__ == "__main__":
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    if (status := main()) == Exit.graph_failed:
        _leave(status)  # freeing what is on a device after an error may end in an abort
    try:
        sys.stdout.flush()
    except OSError:  # the interpreter would replace the exit status
        _leave(status)
    sys.exit(status)

"""Our own training, timed as it runs in `okdbench.training.Trainer`."""

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from okdbench.bench.loops import Loop, TimedRun
from okdbench.bench.timing import Stopwatch, stopwatch
from okdbench.runs.execution import Precision
from okdbench.runs.folder import RunFolder
from okdbench.runs.interleave import Turns, round_robin
from okdbench.training import Interrupted, Trainer
from okdbench.training.backends import in_own_stream
from okdbench.training.computation import configure_process


class Ours(Loop):
    """The training step, computed as `TimedRun.execution` says.

    Several runs that share the device in turns differ only in their seeds; times are those of all of them together
    divided by their number.
    """

    name = "ours"

    def __init__(self, run: TimedRun) -> None:
        super().__init__(run)
        configure_process(run.execution.algorithms, run.device)
        self.trainers: list[Trainer] = []
        self._turns = [in_own_stream(self._steps(seed), run.device) for seed in range(run.execution.jobs)]
        for each in self._turns:
            next(each)

    def _trainer(self, seed: int, epochs: int, folder: Path, stop: Callable[[], bool]) -> Trainer:
        run = self.run
        training = run.config.training.model_copy(update={"epochs": epochs})
        config = run.config.model_copy(update={"training": training, "seed": run.config.seed + seed})
        return Trainer(config, RunFolder(folder), run.root, run.device, stop, execution=run.execution)

    def _steps(self, seed: int) -> Turns[None]:
        """Train one run endlessly: the first turn builds it, each later turn is a step on a full batch."""
        trainer = self._trainer(seed, self.run.config.training.epochs, self.run.runs / "timed", lambda: False)
        trainer.method.prepare(trainer.images.endless(trainer.method.views))
        self.trainers.append(trainer)
        yield
        for epoch in count():
            trainer.step.begin_epoch(0)
            for _ in islice(trainer.steps(epoch), trainer.images.batches.full):
                yield

    @property
    def dtype(self) -> torch.dtype:
        """The type in which the networks' stages compute."""
        return torch.bfloat16 if self.trainers[0].computation.precision == Precision.bfloat16 else torch.float32

    def facts(self) -> dict[str, Any]:
        """How it is computed, with the notes of `Computation`."""
        trainer = self.trainers[0]
        return {**trainer.computation.record(trainer.step.run), "jobs": len(self.trainers)}

    def block(self, steps: int, jobs: int | None = None) -> Stopwatch:
        """Time ``steps`` steps of each run, or of the first ``jobs`` runs."""
        device, turns = self.run.device, self._turns[:jobs]
        configure_process(self.run.execution.algorithms, device)
        with stopwatch(device) as watch:
            for _ in range(steps):
                for each in turns:
                    next(each)
        return watch / len(turns)

    def nodes(self, steps: int = 3) -> int | None:
        """Return how many kernels, copies and fills one step launches on a GPU; None on a CPU."""
        if self.run.device.type != "cuda":
            return None
        with profile(activities=[ProfilerActivity.CUDA]) as trace:
            self.block(steps, jobs=1)
        launched = [event for event in trace.events() or () if event.device_type.name == "CUDA"]
        return round(len(launched) / steps)

    def epochs(self, number: int) -> list[Stopwatch]:
        """Train real runs in temporary folders, stopped ``number`` epochs after the first one."""
        jobs = self.run.execution.jobs
        with tempfile.TemporaryDirectory() as folder:
            ends: list[list[tuple[float, float]]] = [[] for _ in range(jobs)]
            runs = [
                in_own_stream(self._some_epochs(seed, number, Path(folder, str(seed)), ends[seed]), self.run.device)
                for seed in range(jobs)
            ]
            round_robin(runs)
        return [Stopwatch(later[0] - one[0], later[1] - one[1]) / jobs for one, later in pairwise(ends[-1])]

    def _some_epochs(self, seed: int, number: int, folder: Path, ends: list[tuple[float, float]]) -> Turns[None]:
        """Train one run and note when its epochs end."""
        folder.mkdir()

        def stop() -> bool:
            """Called once after every epoch; the time between two calls is one whole epoch."""
            if len(trainer.journal.epochs) > len(ends):
                ends.append((time.perf_counter(), time.process_time()))
            return len(ends) > number

        trainer = self._trainer(seed, number + 2, folder, stop)
        with suppress(Interrupted):
            yield from trainer.turns()

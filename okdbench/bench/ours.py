"""Our own training, timed as it runs in `okdbench.training.Trainer`."""

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import torch

from okdbench.bench.loops import Loop, Setting
from okdbench.bench.timing import Stopwatch, stopwatch
from okdbench.runs.execution import Precision
from okdbench.runs.interleave import Turns, round_robin
from okdbench.seeds import seeded
from okdbench.training import Interrupted, Trainer
from okdbench.training.backends import in_own_stream
from okdbench.training.computation import settle


class Ours(Loop):
    """The training step as `Setting.execution` asks for it.

    Where several runs share the device in turns, they are the same but for their seeds, and times are those of all of
    them together divided by their number.
    """

    name = "ours"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        settle(setting.execution.algorithms, setting.device)
        self.trainers: list[Trainer] = []
        self._runs = [in_own_stream(self._steps(seed), setting.device) for seed in range(setting.execution.jobs)]
        for run in self._runs:
            next(run)

    def _trainer(self, seed: int, epochs: int, folder: Path, stop: Callable[[], bool]) -> Trainer:
        setting = self.setting
        training = setting.config.training.model_copy(update={"epochs": epochs})
        config = setting.config.model_copy(update={"training": training, "seed": setting.config.seed + seed})
        return Trainer(config, folder, setting.root, setting.device, stop, execution=setting.execution)

    def _steps(self, seed: int) -> Turns[None]:
        """One run: it is built in the first turn, and each further one is a step on a full batch, without an end."""
        config = self.setting.config
        trainer = self._trainer(seed, config.training.epochs, Path(), lambda: False)
        trainer.method.prepare(trainer.images.endless(trainer.method.views))
        self.trainers.append(trainer)
        yield
        for epoch in count():
            trainer.step.begin_epoch(0)
            for number, load in enumerate(trainer.images.loads(epoch, trainer.method.views)):
                if load.size == config.training.batch_size:
                    with seeded(trainer.config.seed, "step", 0, number):
                        trainer.step.take(load, number)
                    yield

    @property
    def dtype(self) -> torch.dtype:
        """What the networks' stages compute in."""
        return torch.bfloat16 if self.trainers[0].computation.precision == Precision.bfloat16 else torch.float32

    def facts(self) -> dict[str, Any]:
        """How it is computed, and why not otherwise."""
        trainer = self.trainers[0]
        return {**trainer.computation.record(trainer.step.run), "jobs": len(self.trainers)}

    def block(self, steps: int, jobs: int | None = None) -> Stopwatch:
        """Time so many steps of each run, or of the first ``jobs`` of them."""
        setting, runs = self.setting, self._runs[:jobs]
        settle(setting.execution.algorithms, setting.device)
        with stopwatch(setting.device) as watch:
            for _ in range(steps):
                for run in runs:
                    next(run)
        return watch / len(runs)

    def epochs(self, number: int) -> list[Stopwatch]:
        """Real runs in folders of their own, stopped when they have trained so many epochs after a first one."""
        jobs = self.setting.execution.jobs
        with tempfile.TemporaryDirectory() as folder:
            ends: list[list[tuple[float, float]]] = [[] for _ in range(jobs)]
            runs = [
                in_own_stream(self._some_epochs(seed, number, Path(folder, str(seed)), ends[seed]), self.setting.device)
                for seed in range(jobs)
            ]
            round_robin(runs)
        return [Stopwatch(later[0] - one[0], later[1] - one[1]) / jobs for one, later in pairwise(ends[-1])]

    def _some_epochs(self, seed: int, number: int, folder: Path, ends: list[tuple[float, float]]) -> Turns[None]:
        """One run, which notes when its epochs end."""
        folder.mkdir()

        def stop() -> bool:
            """Asked once after every epoch, before its checkpoint: what passes between is one epoch of everything."""
            if len(trainer.journal.lines) > len(ends):
                ends.append((time.perf_counter(), time.process_time()))
            return len(ends) > number

        trainer = self._trainer(seed, number + 2, folder, stop)
        with suppress(Interrupted):
            yield from trainer.turns()

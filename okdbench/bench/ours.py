"""Our own training, timed as it runs in `okdbench.training.Trainer`."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any

import torch

from okdbench.bench.loops import Loop, Setting
from okdbench.bench.timing import Stopwatch, stopwatch
from okdbench.execution import Precision
from okdbench.seeds import seeded
from okdbench.training import Interrupted, Trainer
from okdbench.training.computation import settle
from okdbench.training.images import Load


class Ours(Loop):
    """The training step as `Setting.execution` asks for it."""

    name = "ours"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        with kept_stream(setting.device):
            self.trainer = self._trainer(setting.config.training.epochs, Path(), lambda: False)
            # A recorded step belongs to the stream that building it has chosen.
            self._stream = torch.cuda.current_stream(setting.device) if setting.device.type == "cuda" else None
            with torch.cuda.stream(self._stream):
                method = self.trainer.method
                method.prepare(self.trainer.images.endless(method.views))
        self._loads = self._full_batches()

    def _trainer(self, epochs: int, folder: Path, stop: Callable[[], bool]) -> Trainer:
        setting = self.setting
        settle(setting.execution.algorithms, setting.device)
        training = setting.config.training.model_copy(update={"epochs": epochs})
        config = setting.config.model_copy(update={"training": training})
        return Trainer(config, folder, setting.root, setting.device, stop, execution=setting.execution)

    @property
    def dtype(self) -> torch.dtype:
        """What the networks' stages compute in."""
        return torch.bfloat16 if self.trainer.computation.precision == Precision.bfloat16 else torch.float32

    def facts(self) -> dict[str, Any]:
        """How it is computed, and why not otherwise."""
        return self.trainer.computation.record(self.trainer.step.run)

    def _full_batches(self) -> Iterator[tuple[int, Load]]:
        trainer, size = self.trainer, self.setting.config.training.batch_size
        for epoch in count():
            trainer.step.begin_epoch(0)
            numbered = enumerate(trainer.images.loads(epoch, trainer.method.views))
            yield from ((number, load) for number, load in numbered if load.size == size)

    def block(self, steps: int) -> Stopwatch:
        """Time so many steps."""
        setting = self.setting
        settle(setting.execution.algorithms, setting.device)
        with torch.cuda.stream(self._stream), stopwatch(setting.device) as watch:
            for number, load in islice(self._loads, steps):
                with seeded(setting.config.seed, "step", 0, number):
                    self.trainer.step.take(load, number)
        return watch

    def epochs(self, number: int) -> list[Stopwatch]:
        """A real run in a folder of its own, stopped when it has trained so many epochs after a first one."""
        ends: list[tuple[float, float]] = []

        def stop() -> bool:
            """Asked once after every epoch, before its checkpoint: what passes between is one epoch of everything."""
            if len(trainer.journal.lines) > len(ends):
                ends.append((time.perf_counter(), time.process_time()))
            return len(ends) > number

        with tempfile.TemporaryDirectory() as folder, kept_stream(self.setting.device):
            trainer = self._trainer(number + 2, Path(folder), stop)
            with suppress(Interrupted):
                trainer.train()
        return [Stopwatch(later[0] - one[0], later[1] - one[1]) for one, later in pairwise(ends)]


@contextmanager
def kept_stream(device: torch.device) -> Iterator[None]:
    """Whatever stream is chosen within this context, the one from before is in force again after it."""
    if device.type != "cuda":
        yield
        return
    with torch.cuda.stream(torch.cuda.current_stream(device)):
        yield

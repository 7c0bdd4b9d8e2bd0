"""The loops that are timed: that of the papers' public code, carefully written eager PyTorch, and ours."""

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from okdbench import data
from okdbench.bench.pil import PilDataset, augmenting, load_batches
from okdbench.bench.pil import plain as unaugmented
from okdbench.bench.published import PlainStep, optimizers, plain_loop
from okdbench.bench.timing import Stopwatch, stopwatch
from okdbench.config import RunConfig
from okdbench.methods import Batch, Method, Progress
from okdbench.runs.execution import DEFAULT_EXECUTION, Execution, Precision
from okdbench.training import build_method
from okdbench.training.backends import EAGER
from okdbench.training.computation import resolve
from okdbench.training.evaluation import Evaluation
from okdbench.training.images import RunImages, open_dataset

PREFETCHED_BATCHES = 2
"""Batches that each loader process prepares in advance."""


@dataclass(frozen=True)
class TimedRun:
    """A run to be timed: its configuration, the folder of its images, its device, and how our loop computes it.

    ``workers`` is the number of loader processes of the loop as published, ``runs`` the folder below which the run of
    its teacher is, if it needs one.
    """

    config: RunConfig
    root: Path
    device: torch.device
    workers: int = 4
    execution: Execution = DEFAULT_EXECUTION
    runs: Path = Path()


class Loop(ABC):
    """Trains one run endlessly, some steps at a time."""

    name: ClassVar[str]

    def __init__(self, run: TimedRun) -> None:
        self.run = run

    @abstractmethod
    def block(self, steps: int) -> Stopwatch:
        """Train ``steps`` steps on full batches; return how long they took."""

    @abstractmethod
    def epochs(self, number: int) -> list[Stopwatch]:
        """Train ``number`` epochs with evaluation and the loop's checkpoints; return how long each took."""


@contextmanager
def algorithms(deterministic: bool) -> Iterator[None]:
    """Within this context torch tries out algorithms and uses the fastest, regardless of what our loop has set.

    ``deterministic`` restricts the trial to deterministic algorithms. Convolutions use TF32, which is torch's default.
    """
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=deterministic, allow_tf32=True):
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)


def prepared(run: TimedRun) -> tuple[RunImages, Method]:
    """Return the run's images and its method, ready to train."""
    dataset = open_dataset(run.config, run.root, run.device)
    method = build_method(run.config, run.device, classes=dataset.classes)
    images = RunImages(dataset, run.config, method.images_per_class)
    method.prepare(images.endless(method.views))
    return images, method


class AsPublished(Loop):
    """The loop as published: PIL transforms in loader processes, float32 NCHW, `okdbench.bench.published.PlainStep`."""

    name = "as-published"

    def __init__(self, run: TimedRun) -> None:
        super().__init__(run)
        config = run.config
        _, self.method = prepared(run)
        self.method.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.step = PlainStep(self.method, config.training.optimizer, self.method.schedule(0, config.training.epochs))
        images = data.load_packed(config.dataset, run.root)
        chosen = _chosen(images.train_labels, config.data.subset, config.data.validation)
        tested = _chosen(images.test_labels, config.data.test_subset)
        augmentation = data.augmentation(config.dataset, config.data.normalisation)
        transform = augmenting(augmentation, images.train.shape[-1])
        self.dataset = PilDataset(images.train[chosen], images.train_labels[chosen], transform, self.method.views)
        self.tests = PilDataset(images.test[tested], images.test_labels[tested], unaugmented(augmentation))
        self._passes = 0

    def _load(self, batches: int | None = None) -> Iterator[Batch]:
        run = self.run
        self._passes += 1
        size = run.config.training.batch_size
        return load_batches(self.dataset, size, run.workers, run.device, self._passes, batches)

    def block(self, steps: int) -> Stopwatch:
        """Time steps in the middle of a longer stretch, so that batches loaded beforehand do not count."""
        lead = max(1, PREFETCHED_BATCHES * self.run.workers)
        batches = self._load(2 * lead + steps)
        with algorithms(deterministic=True):  # the public code sets both
            for batch in islice(batches, lead):
                self.step(batch)
            with stopwatch(self.run.device) as watch:
                for batch in islice(batches, steps):
                    self.step(batch)
        del batches  # ends the loader processes
        return watch

    def epochs(self, number: int) -> list[Stopwatch]:
        """Time whole epochs; loader processes start again for every epoch and every evaluation."""
        run, watches = self.run, list[Stopwatch]()
        size = run.config.training.batch_size
        for _ in range(number):
            with algorithms(deterministic=True), stopwatch(run.device) as watch:
                for batch in self._load():
                    self.step(batch)
                self.step.evaluate(load_batches(self.tests, size, run.workers, run.device, seed=None))
                _save(self.method, self.step.optimizers)
            watches.append(watch)
        return watches


def _chosen(labels: Tensor, subset: int | None, held_out: int = 0) -> Tensor:
    """Return the indices of the images that a run uses."""
    stays, _ = data.hold_out(labels, held_out)
    return stays if subset is None else stays[data.subset_indices(labels[stays], subset)]


def _save(method: Method, optimizers: list[torch.optim.Optimizer]) -> None:
    """Write weights and momenta, as published loops do after an epoch."""
    with tempfile.TemporaryFile() as file:
        torch.save([method.state_dict(), *(optimizer.state_dict() for optimizer in optimizers)], file)


class FairEager(Loop):
    """Images on the device, channels-last, multi-tensor optimisers, nothing read back; no graph.

    It uses autocast to bfloat16 where `okdbench.training.computation.resolve` chooses bfloat16. The trunk runs once for
    each view where the public code's loop is known.
    """

    name = "fair-eager"

    def __init__(self, run: TimedRun) -> None:
        super().__init__(run)
        self.images, self.method = prepared(run)
        self._code = plain_loop(self.method)
        precision = resolve(Execution(), run.device, self.method).precision
        self._dtype = torch.bfloat16 if precision == Precision.bfloat16 else torch.float32
        self._evaluate = Evaluation(self.method, EAGER)
        training = run.config.training
        self.optimizers = optimizers(self.method, training.optimizer)
        zero = torch.zeros((), device=run.device)
        weights = self.method.schedule(0, training.epochs)
        self.progress = Progress(
            epoch=zero.clone(),
            step=zero.clone(),
            weights={name: zero + weight for name, weight in weights.items()},
            rate=zero + training.optimizer.lr,
            number=zero.clone(),
        )
        self._epochs = count()
        self._batches = self._full_batches()

    def step(self, batch: Batch, number: int) -> None:
        """Compute forward passes and losses under autocast, everything else in float32."""
        self.progress.number.fill_(number)
        if self._code:
            with self._autocast():
                loss, _ = self._code.losses(batch, self.progress.weights)
            self._update(loss)
        else:
            with self._autocast():
                self.method.training_step(batch, self.progress, self._update)
        self.method.after_step(self.progress)
        if self.method.meta_every and number % self.method.meta_every == 0:
            self.method.meta_step(batch, self.progress)
        self.progress.step.add_(1)

    def _autocast(self) -> AbstractContextManager[object]:
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.run.device.type, self._dtype)

    def _update(self, loss: Tensor) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self.optimizers:
            optimizer.step()

    def _full_batches(self) -> Iterator[tuple[int, Batch]]:
        for epoch in self._epochs:
            yield from enumerate(islice(self.images.epoch(epoch, self.method.views), self.images.batches.full))

    def block(self, steps: int) -> Stopwatch:
        """Time ``steps`` steps."""
        with algorithms(deterministic=False), stopwatch(self.run.device) as watch:
            for number, batch in islice(self._batches, steps):
                self.step(batch, number)
        return watch

    def epochs(self, number: int) -> list[Stopwatch]:
        """Time epochs with evaluation in large batches; no checkpoint, as ours does not write one in every epoch."""
        watches = list[Stopwatch]()
        for epoch in islice(self._epochs, number):
            with algorithms(deterministic=False), stopwatch(self.run.device) as watch:
                for place, batch in enumerate(self.images.epoch(epoch, self.method.views)):
                    self.step(batch, place)
                with self._autocast():
                    self._evaluate("test", self.images.test())
            watches.append(watch)
        return watches

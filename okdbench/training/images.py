"""A run's images on its device: training batches by keyed plan, and test batches."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from okdbench import data
from okdbench.config import RunConfig
from okdbench.methods import Batch

TEST_BATCH = 500


class RunImages:
    """What one run trains and tests on; ``steps`` is the number of batches in an epoch."""

    def __init__(self, config: RunConfig, root: Path, device: torch.device) -> None:
        images = data.load(config.dataset, root)
        self._augmentation = data.augmentation(config.dataset, config.data.normalisation)
        training, held_out = data.hold_out(images.train_labels, config.data.validation)
        training = _subset(training, images.train_labels, config.data.subset)
        testing = _subset(torch.arange(len(images.test)), images.test_labels, config.data.test_subset)
        self._train = self._store(images.train, images.train_labels, training, device)
        self._test = self._store(images.test, images.test_labels, testing, device)
        self._validation = self._store(images.train, images.train_labels, held_out, device)
        self._seed, self._batch_size, self._device = config.seed, config.training.batch_size, device
        self.steps = -(-len(self._train.labels) // self._batch_size)

    def _store(self, images: Tensor, labels: Tensor, chosen: Tensor, device: torch.device) -> data.ImageStore:
        return data.ImageStore(images[chosen], labels[chosen], self._augmentation, device)

    def epoch(self, epoch: int, views: int, start: int = 0, stream: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from step ``start`` on, in ``views`` augmented views; the last may be smaller."""
        size = len(self._train.labels)
        plan = data.epoch_plan(self._seed, epoch, size, views, self._augmentation, stream=stream).to(self._device)
        for step in range(start, self.steps):
            part = slice(step * self._batch_size, (step + 1) * self._batch_size)
            index = plan.order[part]
            pictures = self._train.augmented(index, plan.rows[:, part], plan.columns[:, part], plan.flips[:, part])
            yield Batch(pictures, self._train.labels[index])

    def endless(self, views: int) -> Iterator[Batch]:
        """Batches of a stream of their own, for methods that prepare themselves before training."""
        for epoch in count():
            yield from self.epoch(epoch, views, stream=1)

    def test(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The test images in order, not augmented, and their labels."""
        return _plain(self._test)

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The images held out of training, likewise; nothing where the run holds out none."""
        return _plain(self._validation)


def _subset(candidates: Tensor, labels: Tensor, count: int | None) -> Tensor:
    """The candidates, or a class-balanced subset of so many of them."""
    return candidates if count is None else candidates[data.subset_indices(labels[candidates], count)]


def _plain(store: data.ImageStore) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(store), TEST_BATCH):
        yield store.plain(start, start + TEST_BATCH), store.labels[start : start + TEST_BATCH]

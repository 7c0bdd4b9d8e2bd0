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
        self._train = self._store(images.train, images.train_labels, config.data.subset, device)
        self._test = self._store(images.test, images.test_labels, config.data.test_subset, device)
        self._seed, self._batch_size, self._device = config.seed, config.training.batch_size, device
        self.steps = -(-len(self._train.labels) // self._batch_size)

    def _store(self, images: Tensor, labels: Tensor, subset: int | None, device: torch.device) -> data.ImageStore:
        if subset is not None:
            chosen = data.subset_indices(labels, subset)
            images, labels = images[chosen], labels[chosen]
        return data.ImageStore(images, labels, self._augmentation, device)

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
        labels = self._test.labels
        for start in range(0, len(labels), TEST_BATCH):
            yield self._test.plain(start, start + TEST_BATCH), labels[start : start + TEST_BATCH]

"""A run's images: training batches in keyed order and crops, and test batches, on the training device.

Packed data sets stay on the device (`Resident`); those too large for it are read from their files by loader processes
(`Streamed`). Order, subsets and the share of each of several processes are decided here, for both.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from okdbench import data
from okdbench.config import LearningConfig
from okdbench.errors import UsageError
from okdbench.methods import Batch
from okdbench.training.distributed import ALONE, Processes


@dataclass(frozen=True)
class PassSpec:
    """Keys of the order and the crops of one pass over the images; a second pass in an epoch has another ``stream``.

    ``policies`` names one for each view.
    """

    seed: int
    epoch: int
    stream: int
    policies: tuple[str, ...]
    classes: data.ClassBatches | None

    @property
    def views(self) -> int:
        """The number of views."""
        return len(self.policies)


class PendingBatch(NamedTuple):
    """A batch that is not yet materialised: its number of images, and the function that makes it on the device.

    ``batch`` does the same work for every pending batch of this size, on tensors that were filled when the batch was
    yielded. So it can be recorded once for all of them, and is valid until the next one is requested.
    """

    size: int
    batch: Callable[[], Batch]


class ImageSource(Protocol):
    """A selection of images and their labels, int64 [N] on the CPU; ``test_batch`` is the batch size of testing.

    Only one pass can be open: starting the next one ends it.
    """

    labels: Tensor
    test_batch: int

    def batches(self, spec: PassSpec, parts: Sequence[range]) -> Iterator[PendingBatch]:
        """Yield a batch of augmented views for each of ``parts``, ranges of places in the order given by ``spec``."""
        ...

    def plain(self, parts: Sequence[range]) -> Iterator[PendingBatch]:
        """Yield a batch of one view, not augmented, for each of ``parts``, ranges of places in the selection."""
        ...


class Resident:
    """Images that stay on the training device and are augmented there."""

    def __init__(self, images: Tensor, labels: Tensor, augmentation: data.Augmentation, device: torch.device) -> None:
        self.labels, self._augmentation, self._device = labels, augmentation, device
        self._store = data.ImageStore(images, labels, augmentation, device)
        # On a CPU, larger batches gain nothing, and could change the last bits of the logits.
        self.test_batch = 500 if device.type == "cpu" else min(2000, 2000 * 32**2 // images.shape[-1] ** 2)
        self._place = torch.zeros((), dtype=torch.long, device=device)
        self._plan: data.EpochPlan | None = None
        self._policies = _Policies(images.shape[-1], device)

    def batches(self, spec: PassSpec, parts: Sequence[range]) -> Iterator[PendingBatch]:
        """Cut crops on the device, by a plan that is uploaded once."""
        size = len(self.labels)
        plan = data.epoch_plan(
            spec.seed, spec.epoch, size, spec.views, self._augmentation, spec.stream, spec.classes, spec.policies
        ).to(self._device, self._plan)
        self._plan = plan
        policies = self._policies(spec.policies)
        for part in parts:
            self._place.fill_(part.start)
            yield PendingBatch(len(part), partial(self._augmented, plan, policies, len(part)))

    def plain(self, parts: Sequence[range]) -> Iterator[PendingBatch]:
        """Yield images of the store."""
        for part in parts:
            self._place.fill_(part.start)
            yield PendingBatch(len(part), partial(self._plain, len(part)))

    def _augmented(self, plan: data.EpochPlan, policies: Sequence[data.Policy], size: int) -> Batch:
        places = self._places(size)
        index = plan.order[places]
        change = partial(data.apply_policies, policies=policies, numbers=plan.numbers[:, :, places])
        where = (plan.rows[:, places], plan.columns[:, places], plan.flips[:, places])
        views = self._store.augmented(index, *where, change=change)
        return Batch(views, self._store.labels[index], index)

    def _plain(self, size: int) -> Batch:
        places = self._places(size)
        return Batch((self._store.plain(places),), self._store.labels[places])

    def _places(self, size: int) -> Tensor:
        return self._place + torch.arange(size, device=self._device)


class _Policies:
    """Makes policies once, before their work may be recorded."""

    def __init__(self, side: int, device: torch.device) -> None:
        self._side, self._device = side, device
        self._made: dict[str, data.Policy] = {}

    def __call__(self, names: Sequence[str]) -> tuple[data.Policy, ...]:
        for name in names:
            if name not in self._made:
                self._made[name] = data.POLICIES[name](self._side, self._device)
        return tuple(self._made[name] for name in names)


class Streamed:
    """Images that loader processes read from their files, as many processes as torch has threads here."""

    test_batch = 125

    def __init__(
        self, files: data.Files, chosen: Tensor, size: int, augmentation: data.Augmentation, device: torch.device
    ) -> None:
        self.labels = files.labels[chosen]
        self._files, self._chosen, self._size, self._flip = files, chosen, size, augmentation.flip
        self._normalise, self._device = data.Normalise(augmentation, device), device
        self.workers = torch.get_num_threads()
        self._landed: dict[torch.Size, tuple[Tensor, ...]] = {}
        self._policies = _Policies(size, device)

    def batches(self, spec: PassSpec, parts: Sequence[range]) -> Iterator[PendingBatch]:
        """Cut crops in the loader processes; do the rest of the policies, and normalise, on the device."""
        order = data.epoch_order(spec.seed, spec.epoch, len(self.labels), spec.stream, spec.classes)
        keys = (spec.seed, spec.epoch, spec.stream)
        crops = data.Crops(self._size, self._flip, *keys, spec.views, spec.policies)
        numbers = data.policy_numbers(*keys, len(order), spec.policies)
        return self._read(order, crops, parts, self._policies(spec.policies), numbers)

    def plain(self, parts: Sequence[range]) -> Iterator[PendingBatch]:
        """Yield centre crops."""
        count = len(self.labels)
        return self._read(torch.arange(count), data.Centre(self._size), parts, (), torch.zeros(0, 0, count))

    def _read(
        self,
        order: Tensor,
        make: data.Crops | data.Centre,
        parts: Sequence[range],
        policies: Sequence[data.Policy],
        numbers: Tensor,
    ) -> Iterator[PendingBatch]:
        on_gpu = self._device.type == "cuda"
        pixels = data.stream(self._files, self._chosen[order], make, parts, self.workers, pin=on_gpu)
        for part, views in zip(parts, pixels, strict=True):
            index = order[part.start : part.stop]
            landed = self._land(views, self.labels[index], index, numbers[:, :, part.start : part.stop])
            yield PendingBatch(len(part), partial(self._batch, policies, *landed))

    def _land(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Copy pixels, labels and index to the device, into the tensors that held the last ones of this shape."""
        shape = values[0].shape
        if shape not in self._landed:
            self._landed[shape] = tuple(value.to(self._device) for value in values)
        for place, value in zip(self._landed[shape], values, strict=True):
            place.copy_(value, non_blocking=True)
        return self._landed[shape]

    def _batch(
        self, policies: Sequence[data.Policy], pixels: Tensor, labels: Tensor, index: Tensor, numbers: Tensor
    ) -> Batch:
        views = self._normalise(data.apply_policies(pixels, policies, numbers))
        return Batch(views.view(*pixels.shape[:2], *views.shape[1:]).unbind(), labels.clone(), index.clone())


@dataclass(frozen=True)
class OpenDataset:
    """A whole data set: labels, int64 on the CPU, the number of classes in them, and sources of selected images.

    ``sha256`` is the hash of all its pixels and labels, None where they are not all read.
    """

    train_labels: Tensor
    test_labels: Tensor
    classes: int
    train: Callable[[Tensor], ImageSource]
    test: Callable[[Tensor], ImageSource]
    sha256: str | None = None


def open_dataset(config: LearningConfig, root: Path, device: torch.device) -> OpenDataset:
    """Open the run's data set, packed or as files."""
    dataset = data.get(config.dataset)
    augmentation = data.augmentation(config.dataset, config.data.normalisation)
    if dataset.streamed:
        files = data.listed(config.dataset, root)

        def streamed(split: data.Files, chosen: Tensor) -> ImageSource:
            return Streamed(split, chosen, dataset.image_size, augmentation, device)

        train, test = partial(streamed, files.train), partial(streamed, files.test)
        return OpenDataset(files.train.labels, files.test.labels, files.classes, train, test)
    images = data.load_packed(config.dataset, root)

    def resident(split: Tensor, labels: Tensor, chosen: Tensor) -> ImageSource:
        return Resident(split[chosen], labels[chosen], augmentation, device)

    train = partial(resident, images.train, images.train_labels)
    test = partial(resident, images.test, images.test_labels)
    return OpenDataset(images.train_labels, images.test_labels, dataset.classes, train, test, images.sha256())


class RunImages:
    """What one run trains and tests on. Batches are this process's parts of those that the configuration asks for.

    They are class-aware if ``images_per_class`` (see `okdbench.methods.Method`) is above 0, else a plain shuffle.
    Raise UsageError if the images cannot be divided into such batches (`okdbench.data.EpochBatches`).
    """

    def __init__(
        self, dataset: OpenDataset, config: LearningConfig, images_per_class: int = 0, processes: Processes = ALONE
    ) -> None:
        self._seed, self._processes = config.seed, processes
        training, held_out = data.hold_out(dataset.train_labels, config.data.validation)
        training = _subset(training, dataset.train_labels, config.data.subset)
        testing = _subset(torch.arange(len(dataset.test_labels)), dataset.test_labels, config.data.test_subset)
        self.train_source, self.test_source, self.validation_source = (
            dataset.train(training),
            dataset.test(testing),
            dataset.train(held_out),
        )
        labels, size = self.train_source.labels, config.training.batch_size
        self.batches = data.EpochBatches(len(labels), size, images_per_class, processes.size)
        if problem := self.batches.problem:
            raise UsageError(f"training.batch_size: {problem}")
        self._classes = data.ClassBatches(labels, size, images_per_class) if images_per_class else None
        self._named = config.data.policies

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.batches.steps

    @property
    def labels(self) -> Tensor:
        """The labels of all training images, int64 [N] on the CPU; `okdbench.methods.Batch.indices` counts in them."""
        return self.train_source.labels

    def epoch(self, epoch: int, views: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from step ``start`` on, in ``views`` augmented views; the last may be smaller."""
        return (pending.batch() for pending in self.pending_batches(epoch, views, start))

    def pending_batches(self, epoch: int, views: int, start: int = 0) -> Iterator[PendingBatch]:
        """The same batches, not yet materialised."""
        parts = [self._processes.part(self._places(step)) for step in range(start, self.steps)]
        return self.train_source.batches(self._spec(epoch, 0, views), parts)

    def endless(self, views: int) -> Iterator[Batch]:
        """Endless batches from a random stream of their own, for methods that prepare themselves before training."""
        for epoch in count():
            parts = [self._places(step) for step in range(self.steps)]
            batches = self.train_source.batches(self._spec(epoch, 1, views), parts)
            yield from (pending.batch() for pending in batches)

    def _spec(self, epoch: int, stream: int, views: int) -> PassSpec:
        return PassSpec(self._seed, epoch, stream, data.policy_of_each_view(self._named, views), self._classes)

    def _places(self, step: int) -> range:
        """Return the whole batch of a step, as places in the order of the epoch."""
        start = step * self.batches.batch_size
        return range(start, min(start + self.batches.batch_size, self.batches.images))

    def test(self) -> Iterator[PendingBatch]:
        """This process's share of the test images in order, not augmented."""
        return self._plain(self.test_source)

    def validation(self) -> Iterator[PendingBatch]:
        """This process's share of the images held out of training; empty if the run holds out none."""
        return self._plain(self.validation_source)

    def _plain(self, source: ImageSource) -> Iterator[PendingBatch]:
        mine, size = self._processes.share(len(source.labels)), source.test_batch
        return source.plain([mine[start : start + size] for start in range(0, len(mine), size)])


def _subset(candidates: Tensor, labels: Tensor, count: int | None) -> Tensor:
    """Return the candidates, or a class-balanced subset of ``count`` of them."""
    return candidates if count is None else candidates[data.subset_indices(labels[candidates], count)]

"""A run's images: training batches in keyed order and crops, and test batches, on the training device.

Where the images are is the data set's affair: packed ones stay on the device (`Resident`), those too large for that are
read from their files by loader processes (`Streamed`). Order, subsets, and what each of several processes gets are
decided here, for both.
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
from okdbench.config import RunConfig
from okdbench.errors import UsageError
from okdbench.methods import Batch
from okdbench.training.distributed import ALONE, Processes


@dataclass(frozen=True)
class Draw:
    """What decides the order and the crops of one pass over the images; ``stream`` sets apart a second in one epoch."""

    seed: int
    epoch: int
    stream: int
    views: int
    classes: data.ClassBatches | None


class Load(NamedTuple):
    """A batch that is on its way: its number of images, and what makes it on the device.

    ``batch`` does the same for every load of this size, reading tensors that were filled when the load was given; so it
    can be recorded once for all of them, and serves until the next load is asked for.
    """

    size: int
    batch: Callable[[], Batch]


class Pictures(Protocol):
    """A selection of images and their labels, int64 [N] on the CPU; ``test_batch`` is how many to test at a time.

    One pass at a time: the next one ends the one before.
    """

    labels: Tensor
    test_batch: int

    def batches(self, draw: Draw, parts: Sequence[range]) -> Iterator[Load]:
        """One batch of augmented views for each of ``parts``, places in the order that ``draw`` decides."""
        ...

    def plain(self, parts: Sequence[range]) -> Iterator[Load]:
        """One batch of one view, not augmented, for each of ``parts``, places in the selection's order."""
        ...


class Resident:
    """Images that stay on the training device and are augmented there."""

    test_batch = 500

    def __init__(self, images: Tensor, labels: Tensor, augmentation: data.Augmentation, device: torch.device) -> None:
        self.labels, self._augmentation, self._device = labels, augmentation, device
        self._store = data.ImageStore(images, labels, augmentation, device)
        self._place = torch.zeros((), dtype=torch.long, device=device)
        self._plan: data.EpochPlan | None = None

    def batches(self, draw: Draw, parts: Sequence[range]) -> Iterator[Load]:
        """Crops cut on the device, as a plan that lies there says."""
        size = len(self.labels)
        plan = data.epoch_plan(
            draw.seed, draw.epoch, size, draw.views, self._augmentation, draw.stream, draw.classes
        ).to(self._device, self._plan)
        self._plan = plan
        for part in parts:
            self._place.fill_(part.start)
            yield Load(len(part), partial(self._augmented, plan, len(part)))

    def plain(self, parts: Sequence[range]) -> Iterator[Load]:
        """Images of the store."""
        for part in parts:
            self._place.fill_(part.start)
            yield Load(len(part), partial(self._plain, len(part)))

    def _augmented(self, plan: data.EpochPlan, size: int) -> Batch:
        places = self._places(size)
        index = plan.order[places]
        views = self._store.augmented(index, plan.rows[:, places], plan.columns[:, places], plan.flips[:, places])
        return Batch(views, self._store.labels[index])

    def _plain(self, size: int) -> Batch:
        places = self._places(size)
        return Batch((self._store.plain(places),), self._store.labels[places])

    def _places(self, size: int) -> Tensor:
        return self._place + torch.arange(size, device=self._device)


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
        self._landed: dict[torch.Size, tuple[Tensor, Tensor]] = {}

    def batches(self, draw: Draw, parts: Sequence[range]) -> Iterator[Load]:
        """Crops cut by the loader processes, normalised on the device."""
        order = data.epoch_order(draw.seed, draw.epoch, len(self.labels), draw.stream, draw.classes)
        crops = data.Crops(self._size, self._flip, draw.seed, draw.epoch, draw.stream, draw.views)
        return self._read(order, crops, parts)

    def plain(self, parts: Sequence[range]) -> Iterator[Load]:
        """Centres."""
        return self._read(torch.arange(len(self.labels)), data.Centre(self._size), parts)

    def _read(self, order: Tensor, make: data.Crops | data.Centre, parts: Sequence[range]) -> Iterator[Load]:
        on_gpu = self._device.type == "cuda"
        pixels = data.stream(self._files, self._chosen[order], make, parts, self.workers, pin=on_gpu)
        for part, views in zip(parts, pixels, strict=True):
            landed = self._land(views, self.labels[order[part.start : part.stop]])
            yield Load(len(part), partial(self._batch, *landed))

    def _land(self, views: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Both on the device, in the place of those of the same shape before."""
        if views.shape not in self._landed:
            self._landed[views.shape] = views.to(self._device), labels.to(self._device)
        for place, value in zip(self._landed[views.shape], (views, labels), strict=True):
            place.copy_(value, non_blocking=True)
        return self._landed[views.shape]

    def _batch(self, pixels: Tensor, labels: Tensor) -> Batch:
        views = self._normalise(pixels)
        return Batch(views.view(*pixels.shape[:2], *views.shape[1:]).unbind(), labels.clone())


@dataclass(frozen=True)
class Found:
    """A data set, whole: its labels, int64 on the CPU, how many classes they show, and any selection of its images."""

    train_labels: Tensor
    test_labels: Tensor
    classes: int
    train: Callable[[Tensor], Pictures]
    test: Callable[[Tensor], Pictures]


def find(config: RunConfig, root: Path, device: torch.device) -> Found:
    """The run's data set, packed or as files, as it declares itself."""
    dataset = data.get(config.dataset)
    augmentation = data.augmentation(config.dataset, config.data.normalisation)
    if dataset.streamed:
        files = data.listed(config.dataset, root)

        def streamed(split: data.Files, chosen: Tensor) -> Pictures:
            return Streamed(split, chosen, dataset.image_size, augmentation, device)

        train, test = partial(streamed, files.train), partial(streamed, files.test)
        return Found(files.train.labels, files.test.labels, files.classes, train, test)
    images = data.load(config.dataset, root)

    def resident(split: Tensor, labels: Tensor, chosen: Tensor) -> Pictures:
        return Resident(split[chosen], labels[chosen], augmentation, device)

    train = partial(resident, images.train, images.train_labels)
    test = partial(resident, images.test, images.test_labels)
    return Found(images.train_labels, images.test_labels, dataset.classes, train, test)


class RunImages:
    """What one run trains and tests on. Batches are this process's parts of those that the configuration asks for.

    They are class-aware where ``images_per_class`` (see `okdbench.methods.Method`), else a plain shuffle. ``steps`` is
    the number of batches in an epoch. UsageError where a batch cannot be put together so, or not be divided among the
    processes.
    """

    def __init__(
        self, found: Found, config: RunConfig, images_per_class: int = 0, processes: Processes = ALONE
    ) -> None:
        self._seed, self._batch_size, self._processes = config.seed, config.training.batch_size, processes
        training, held_out = data.hold_out(found.train_labels, config.data.validation)
        training = _subset(training, found.train_labels, config.data.subset)
        testing = _subset(torch.arange(len(found.test_labels)), found.test_labels, config.data.test_subset)
        self._train, self._test, self._validation = found.train(training), found.test(testing), found.train(held_out)
        labels, size = self._train.labels, config.training.batch_size
        self.batches = data.EpochBatches(len(labels), size, images_per_class, processes.size)
        if problem := self.batches.problem:
            raise UsageError(f"training.batch_size: {problem}")
        self._classes = data.ClassBatches(labels, size, images_per_class) if images_per_class else None

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.batches.steps

    def epoch(self, epoch: int, views: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from step ``start`` on, in ``views`` augmented views; the last may be smaller."""
        return (load.batch() for load in self.loads(epoch, views, start))

    def loads(self, epoch: int, views: int, start: int = 0) -> Iterator[Load]:
        """The same, each still to be made."""
        parts = [self._processes.part(self._places(step)) for step in range(start, self.steps)]
        return self._train.batches(Draw(self._seed, epoch, 0, views, self._classes), parts)

    def endless(self, views: int) -> Iterator[Batch]:
        """Whole batches of a stream of their own, for methods that prepare themselves before training."""
        for epoch in count():
            parts = [self._places(step) for step in range(self.steps)]
            loads = self._train.batches(Draw(self._seed, epoch, 1, views, self._classes), parts)
            yield from (load.batch() for load in loads)

    def _places(self, step: int) -> range:
        """The whole batch of a step, as places in the order of the epoch."""
        start = step * self._batch_size
        return range(start, min(start + self._batch_size, len(self._train.labels)))

    def test(self) -> Iterator[Load]:
        """This process's share of the test images in order, not augmented."""
        return self._plain(self._test)

    def validation(self) -> Iterator[Load]:
        """The images held out of training, likewise; nothing where the run holds out none."""
        return self._plain(self._validation)

    def _plain(self, pictures: Pictures) -> Iterator[Load]:
        mine, size = self._processes.share(len(pictures.labels)), pictures.test_batch
        return pictures.plain([mine[start : start + size] for start in range(0, len(mine), size)])


def _subset(candidates: Tensor, labels: Tensor, count: int | None) -> Tensor:
    """The candidates, or a class-balanced subset of so many of them."""
    return candidates if count is None else candidates[data.subset_indices(labels[candidates], count)]

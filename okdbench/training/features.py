"""Frozen features in place of images: computed once where the images stay the same, in large batches where they do not.

Here as in `okdbench.training.images`, order, subsets and crops are keyed, so an interrupted run continues bit for bit.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from okdbench import data
from okdbench.data.resizing import Rectangles, random_rectangles, resized
from okdbench.errors import UsageError
from okdbench.methods import Batch
from okdbench.runs.interleave import Turns
from okdbench.runs.probe import ProbeConfig, ProbeSettings
from okdbench.training.images import ImageSource, OpenDataset, PassSpec, PendingBatch, open_dataset

Encode = Callable[[Tensor], Tensor]
"""From images [N, 3, S, S] to features [N, D]."""


class ResizedImages:
    """Images that stay on the device, of which random parts are resized there, or the whole."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        augmentation: data.Augmentation,
        size: int,
        area: tuple[float, float],
        device: torch.device,
    ) -> None:
        self.labels, self._size, self._area, self._flip = labels, size, area, augmentation.flip
        self._images, self._labels = images.to(device), labels.to(device)
        self._normalise, self._device = data.Normalise(augmentation, device), device
        # On a CPU, larger batches gain nothing.
        self.test_batch = 250 if device.type == "cpu" else max(1, min(2000, 2000 * 32**2 // size**2))

    def batches(self, spec: PassSpec, parts: Sequence[range]) -> Iterator[PendingBatch]:
        """Cut a random part out of every image, in the order of the epoch."""
        order = data.epoch_order(spec.seed, spec.epoch, len(self.labels), spec.stream, spec.classes)
        side, count = self._images.shape[-1], len(order)
        views = [
            random_rectangles(spec.seed, spec.epoch, count, side, self._area, self._flip, spec.stream, view)
            for view in range(spec.views)
        ]
        for part in parts:
            places = slice(part.start, part.stop)
            rectangles = [view.at(places, self._device) for view in views]
            yield PendingBatch(len(part), partial(self._batch, order[places].to(self._device), rectangles))

    def plain(self, parts: Sequence[range]) -> Iterator[PendingBatch]:
        """Yield whole images."""
        side = self._images.shape[-1]
        for part in parts:
            index = torch.arange(part.start, part.stop, device=self._device)
            whole = Rectangles.whole(len(part), side, self._device)
            yield PendingBatch(len(part), partial(self._batch, index, [whole] if side != self._size else [None]))

    def _batch(self, index: Tensor, views: Sequence[Rectangles | None]) -> Batch:
        """Return the images ``index``, as they are where there is no rectangle."""
        pixels = self._images[index]
        cut = [pixels if view is None else resized(pixels, view, self._size) for view in views]
        return Batch(tuple(map(self._normalise, cut)), self._labels[index], index)


class FeatureSource:
    """The features of a selection of images, as an image source whose batches hold features [B, D] in place of images.

    ``batch_size`` is that of training; ``encode`` is called with as many whole batches at a time as make a large one.
    Of images that are seen whole (not ``augmented``) the features are computed once, by `compute`, and so they are for
    testing. A pass over random parts always computes the same groups of images, wherever it starts.
    """

    def __init__(self, images: ImageSource, encode: Encode, batch_size: int, augmented: bool) -> None:
        self.labels, self.test_batch = images.labels, 500
        self._images, self._encode, self._augmented = images, encode, augmented
        self._group = batch_size * max(1, images.test_batch // batch_size)
        self._known: Batch | None = None
        self._order: Tensor | None = None
        self._ahead: Batch | None = None
        self._place = torch.zeros((), dtype=torch.long)

    def compute(self) -> Turns[None]:
        """Compute the features of all images as they are tested, yielding after every batch."""
        count, size = len(self.labels), self._images.test_batch
        found = []
        for pending in self._images.plain([range(start, min(start + size, count)) for start in range(0, count, size)]):
            batch = pending.batch()
            found.append((self._encode(batch.views[0]), batch.labels))
            yield
        if found:
            features, labels = zip(*found, strict=True)
            self._known = Batch((torch.cat(features),), torch.cat(labels))
            self._place = self._place.to(self._known.labels.device)

    def batches(self, spec: PassSpec, parts: Sequence[range]) -> Iterator[PendingBatch]:
        """Yield features in the order of the epoch."""
        return self._grouped(spec, parts) if self._augmented else self._reordered(spec, parts)

    def plain(self, parts: Sequence[range]) -> Iterator[PendingBatch]:
        """Yield the features of whole images."""
        for part in parts:
            self._place.fill_(part.start)
            yield PendingBatch(len(part), partial(self._in_order, len(part)))

    def _reordered(self, spec: PassSpec, parts: Sequence[range]) -> Iterator[PendingBatch]:
        order = data.epoch_order(spec.seed, spec.epoch, len(self.labels), spec.stream, spec.classes)
        if self._order is None:
            self._order = order.to(self._place.device)
        self._order.copy_(order)
        for part in parts:
            self._place.fill_(part.start)
            yield PendingBatch(len(part), partial(self._by_order, len(part)))

    def _grouped(self, spec: PassSpec, parts: Sequence[range]) -> Iterator[PendingBatch]:
        count, size = len(self.labels), self._group
        groups = list(dict.fromkeys(part.start // size for part in parts))
        images = self._images.batches(spec, [range(g * size, min((g + 1) * size, count)) for g in groups])
        current = -1
        for part in parts:
            if part.start // size != current:
                current = part.start // size
                self._look_ahead(next(images).batch())
            self._place.fill_(part.start - current * size)
            yield PendingBatch(len(part), partial(self._from_group, len(part)))

    def _look_ahead(self, batch: Batch) -> None:
        """Compute the features of a group of images, into the tensors that held those of the last group."""
        features = self._encode(batch.views[0])
        if self._ahead is None:
            space = [value.new_zeros(self._group, *value.shape[1:]) for value in (features, batch.labels)]
            self._ahead, self._place = Batch((space[0],), space[1]), self._place.to(features.device)
        self._ahead.views[0][: len(features)] = features
        self._ahead.labels[: len(features)] = batch.labels

    def _from_group(self, size: int) -> Batch:
        return _taken(self._ahead, self._places(size))

    def _in_order(self, size: int) -> Batch:
        return _taken(self._known, self._places(size))

    def _by_order(self, size: int) -> Batch:
        assert self._order is not None
        return _taken(self._known, self._order[self._places(size)])

    def _places(self, size: int) -> Tensor:
        return self._place + torch.arange(size, device=self._place.device)


def _taken(batch: Batch | None, places: Tensor) -> Batch:
    """Return some rows of a batch of features."""
    assert batch is not None, "features are computed first"
    return Batch((batch.views[0][places],), batch.labels[places])


def open_features(config: ProbeConfig, root: Path, device: torch.device, size: int, encode: Encode) -> OpenDataset:
    """Open the probe's data set as features of images of ``size`` pixels.

    Raise UsageError where images that are read from their files would have to be resized.
    """
    dataset, probe = data.get(config.dataset), config.probe
    if dataset.streamed:
        opened = open_dataset(config, root, device)
        _require_as_read(dataset, probe, size)
    else:
        images = data.load_packed(config.dataset, root)
        augmentation = data.augmentation(config.dataset, config.data.normalisation)

        def chosen(pixels: Tensor, labels: Tensor, some: Tensor) -> ImageSource:
            return ResizedImages(pixels[some], labels[some], augmentation, size, probe.crop_area, device)

        train = partial(chosen, images.train, images.train_labels)
        test = partial(chosen, images.test, images.test_labels)
        opened = OpenDataset(images.train_labels, images.test_labels, dataset.classes, train, test, images.sha256())

    def features(source: Callable[[Tensor], ImageSource], some: Tensor) -> ImageSource:
        return FeatureSource(source(some), encode, config.training.batch_size, probe.view == "resized-crop")

    return replace(opened, train=partial(features, opened.train), test=partial(features, opened.test))


def _require_as_read(dataset: data.Dataset, probe: ProbeSettings, size: int) -> None:
    if size != dataset.image_size:
        raise UsageError(
            f"probe.size: images of {dataset.name} are read from files in {dataset.image_size} pixels, not {size}; "
            f"set probe.size={dataset.image_size}"
        )
    if probe.crop_area != ProbeSettings().crop_area:
        raise UsageError(f"probe.crop_area: has no effect on {dataset.name}, which is read from files; leave it out")

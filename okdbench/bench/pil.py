"""Images the way the papers' public code reads them: one PIL image after the other, in loader processes."""

import warnings
from collections.abc import Callable, Generator
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler

from okdbench.data import Augmentation
from okdbench.methods import Batch
from okdbench.torchvision_shim import transforms

Transform = Callable[[Image.Image], Tensor]


def augmenting(augmentation: Augmentation, size: int) -> Transform:
    """Return torchvision's transforms of an image of side ``size``: crop, flip, to float, normalise."""
    mode = "constant" if augmentation.padding == "zero" else augmentation.padding
    steps: list[Any] = [transforms.RandomCrop(size, padding=augmentation.pad, padding_mode=mode)]
    steps += [transforms.RandomHorizontalFlip()] if augmentation.flip else []
    return _chain([*steps, plain(augmentation)])


def plain(augmentation: Augmentation) -> Transform:
    """Return transforms that convert to float and normalise, as for testing."""
    return _chain([transforms.ToTensor(), transforms.Normalize(augmentation.mean, augmentation.std)])


def _chain(steps: list[Any]) -> Transform:
    made: Transform = transforms.Compose(steps)
    return made


class PilDataset(Dataset[tuple[tuple[Tensor, ...], int]]):
    """A data set over an array of images; each access makes one PIL image and ``views`` transforms of it."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Transform, views: int = 1) -> None:
        self._arrays = images.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = labels.tolist()
        self._transform, self._views = transform, views

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[tuple[Tensor, ...], int]:
        picture = Image.fromarray(self._arrays[index])
        return tuple(self._transform(picture) for _ in range(self._views)), self._labels[index]


def load_batches(
    dataset: PilDataset,
    batch_size: int,
    workers: int,
    device: torch.device,
    seed: int | None,
    batches: int | None = None,
) -> Generator[Batch, None, None]:
    """Yield batches on the device: one epoch, shuffled unless ``seed`` is None, or ``batches`` full ones."""
    draws = torch.Generator().manual_seed(seed or 0)
    count = None if batches is None else batches * batch_size
    shuffled = RandomSampler(dataset, num_samples=count, generator=draws)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # more processes than cores
        loader = iter(
            DataLoader(
                dataset,
                batch_size,
                sampler=SequentialSampler(dataset) if seed is None else shuffled,
                num_workers=workers,
                pin_memory=device.type == "cuda",
                generator=draws,
            )
        )
    for views, labels in loader:
        yield Batch(tuple(v.to(device, non_blocking=True) for v in views), labels.to(device, non_blocking=True))

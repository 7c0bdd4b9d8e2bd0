"""Images read, decoded and cropped in loader processes during training, for data sets too large to keep in memory.

Every crop has random numbers of its own, keyed by seed, epoch, place in the epoch and view, so it does not matter which
process makes it, when, or whether the run was interrupted before.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as Places

from okdbench.data.base import Files
from okdbench.data.decode import decode_rgb
from okdbench.data.policies import POLICIES
from okdbench.errors import UsageError
from okdbench.seeds import seeded


@dataclass(frozen=True)
class Crops:
    """Training views of side ``size``: RandomResizedCrop, then a flip with probability 0.5 where ``flip``.

    A view whose policy has no flips, or no crops, is without them; the rest of a policy is not done here.
    """

    size: int
    flip: bool
    seed: int
    epoch: int
    stream: int
    views: int
    policies: tuple[str, ...] = ()

    def __call__(self, image: Any, place: int) -> Tensor:
        """uint8 [views, 3, size, size] of a PIL image that stands at ``place`` of the epoch."""
        from okdbench.torchvision_shim import v2

        made = []
        for view, name in enumerate(self.policies or ("standard",) * self.views):
            policy = POLICIES[name]
            steps = [v2.RandomResizedCrop(self.size)] if policy.crops else Centre(self.size).steps()
            steps += [v2.RandomHorizontalFlip()] if self.flip and policy.flips else []
            with seeded(self.seed, "augment", self.epoch, self.stream, view, place):
                made.append(v2.functional.pil_to_tensor(v2.Compose(steps)(image)))
        return torch.stack(made)


@dataclass(frozen=True)
class Centre:
    """The one test view: the shorter side resized to 8/7 of ``size`` (256 for 224), then the centre of that size."""

    size: int

    def steps(self) -> list[Any]:
        """Return torchvision's transforms of a PIL image."""
        from okdbench.torchvision_shim import v2

        return [v2.Resize(self.size * 8 // 7), v2.CenterCrop(self.size)]

    def __call__(self, image: Any, place: int) -> Tensor:
        """uint8 [1, 3, size, size] of a PIL image."""
        from okdbench.torchvision_shim import v2

        return torch.stack([v2.functional.pil_to_tensor(v2.Compose(self.steps())(image))])


class _Reader(Places[Tensor | UsageError]):
    """Image ``order[place]`` of the files, as ``make`` makes it.

    A file that cannot be read is returned as the error, since a raised one would reach the trainer with the traceback
    of the loader process in its text.
    """

    def __init__(self, files: Files, order: Tensor, make: Crops | Centre) -> None:
        self._files, self._order, self._make = files, order, make

    def __getitem__(self, place: int) -> Tensor | UsageError:
        path = self._files.folder / os.fsdecode(bytes(self._files.names[int(self._order[place])]))
        try:
            return self._make(decode_rgb(path), place)
        except ValueError as error:
            return UsageError(f"{path}: not a readable image ({error}); get it again")


def stream(
    files: Files, order: Tensor, make: Crops | Centre, parts: Sequence[range], workers: int, pin: bool
) -> Iterator[Tensor]:
    """Yield for each of ``parts`` the views uint8 [V, B, 3, S, S] of the images at these places of ``order``.

    ``workers`` processes read ahead, 0 reads in this process; ``pin``: in page-locked memory, from which copies to a
    GPU do not wait. Raise UsageError for a file that cannot be read.
    """
    loader = DataLoader(
        _Reader(files, order, make),
        batch_sampler=parts,  # type: ignore[arg-type]  # a range serves as a list of places
        num_workers=min(workers, len(parts)),
        collate_fn=_together,
        pin_memory=pin,
        worker_init_fn=_leave_signals_to_the_trainer,
        generator=torch.Generator(),  # otherwise the loader draws its seed from the global generator
    )
    for batch in loader:
        if isinstance(batch, UsageError):
            raise batch
        yield batch


def _together(items: list[Tensor | UsageError]) -> Tensor | UsageError:
    """Return views [V, 3, S, S] of B images as [V, B, 3, S, S], or the first error."""
    for item in items:
        if isinstance(item, UsageError):
            return item
    return torch.stack([item for item in items if isinstance(item, Tensor)], dim=1)


def _leave_signals_to_the_trainer(worker: int) -> None:
    """Ignore signals to the process group, so that loaders live until the trainer has written its checkpoint."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)

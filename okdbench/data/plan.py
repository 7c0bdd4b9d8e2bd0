"""Which image comes when, and how it is cropped and flipped: decided for a whole epoch before it starts.

All numbers come from keyed CPU generators, so they are the same on every device and an interrupted run continues with
the numbers that it would have had.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from okdbench.data.normalisation import Augmentation
from okdbench.errors import UsageError
from okdbench.seeds import generator


@dataclass(frozen=True)
class EpochPlan:
    """One epoch over N images in V views.

    ``order`` int64 [N]: image indices in the order of the epoch. ``rows`` and ``columns`` uint8 [V, N]: crop offsets
    into the padded image; ``flips`` bool [V, N]. Their second axis is the position in ``order``, so the batch
    ``start:stop`` is ``order[start:stop]`` with ``rows[:, start:stop]`` and so on.
    """

    order: Tensor
    rows: Tensor
    columns: Tensor
    flips: Tensor

    def to(self, device: torch.device | str) -> "EpochPlan":
        """The same plan on another device, for one upload per epoch."""
        return EpochPlan(*(each.to(device) for each in (self.order, self.rows, self.columns, self.flips)))


def epoch_plan(seed: int, epoch: int, count: int, views: int, augmentation: Augmentation, stream: int = 0) -> EpochPlan:
    """The plan of ``epoch`` (from 0) over ``count`` images.

    Each view has a generator of its own, so the first views are the same numbers however many there are: methods with
    one view and with three see the same first crops. ``stream`` sets apart a second pass over the images in one epoch.
    """
    order = torch.randperm(count, generator=generator(seed, "order", epoch, stream))
    rows = torch.empty(views, count, dtype=torch.uint8)
    columns = torch.empty(views, count, dtype=torch.uint8)
    flips = torch.zeros(views, count, dtype=torch.bool)
    offsets = 2 * augmentation.pad + 1
    for view in range(views):
        draws = generator(seed, "augment", epoch, stream, view)
        rows[view] = torch.randint(offsets, (count,), generator=draws)
        columns[view] = torch.randint(offsets, (count,), generator=draws)
        if augmentation.flip:
            flips[view] = torch.randint(2, (count,), generator=draws)
    return EpochPlan(order, rows, columns, flips)


def subset_indices(labels: Tensor, count: int) -> Tensor:
    """Indices int64 [count] of a subset with equally many images of each class, as far as they go round.

    The same for every seed, so that seeds differ in training and not in data; a smaller subset is the beginning of a
    larger one. Classes take turns in the order of their labels: the last, incomplete round serves the lowest labels.
    UsageError when there are fewer than ``count`` images.
    """
    if count > len(labels):
        raise UsageError(
            f"data.subset or data.test_subset: {count} images asked for, {len(labels)} there are; lower the number"
        )
    shuffled = torch.randperm(len(labels), generator=generator(0, "subset"))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    sizes = labels.bincount()
    turn = torch.cat([torch.arange(int(size)) for size in sizes])
    return by_class[turn.argsort(stable=True)][:count]


def hold_out(labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indices that stay for training, and ``count`` class-balanced ones held out of it; the same for every seed."""
    held_out = subset_indices(labels, count)
    stays = torch.ones(len(labels), dtype=torch.bool)
    stays[held_out] = False
    return stays.nonzero().squeeze(1), held_out

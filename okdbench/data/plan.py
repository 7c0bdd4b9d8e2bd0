"""The order of the images, and their crops and flips, decided for a whole epoch before it starts.

All numbers come from keyed CPU generators, so they are the same on every device and an interrupted run continues with
the numbers that it would have had.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from okdbench.data.normalisation import Augmentation
from okdbench.data.policies import POLICIES, policy_numbers
from okdbench.errors import UsageError
from okdbench.seeds import generator


class EpochPlan:
    """One epoch of N draws in V views.

    ``order`` int64 [N]: image indices in the order of the epoch, each image once unless batches are class-aware.
    ``rows`` and ``columns`` uint8 [V, N]: crop offsets into the padded image; ``flips`` bool [V, N]. Their second axis
    is the position in ``order``, so the batch ``start:stop`` is ``order[start:stop]`` with ``rows[:, start:stop]`` and
    so on. ``numbers`` float32 [V, D, N]: D random numbers for the policies of the views. All five lie in ``memory``,
    uint8 [N (8 + V (3 + 4 D))], which is uploaded in one copy.
    """

    def __init__(self, memory: Tensor, views: int, drawn: int = 0) -> None:
        self.memory, self.views, self.drawn = memory, views, drawn
        count = len(memory) // (8 + views * (3 + 4 * drawn))
        order, numbers, codes = memory.tensor_split([8 * count, count * (8 + 4 * views * drawn)])
        self.order = order.view(torch.int64)
        self.numbers = numbers.view(torch.float32).view(views, drawn, count)
        self.rows, self.columns, flips = codes.view(3, views, count)
        self.flips = flips.view(torch.bool)

    def to(self, device: torch.device | str, place: "EpochPlan | None" = None) -> "EpochPlan":
        """Copy the plan to another device, into the memory of ``place`` where it is of the same shape."""
        if place is None or place._shape != self._shape:
            return EpochPlan(self.memory.to(device), self.views, self.drawn)
        place.memory.copy_(self.memory)
        return place

    @property
    def _shape(self) -> tuple[int, int, int]:
        return len(self.memory), self.views, self.drawn


@dataclass(frozen=True)
class EpochBatches:
    """How the training images of an epoch are divided into batches of ``batch_size``, each shared by ``processes``.

    The last batch may be smaller. It is left out where it has less than one image for each process, and where batches
    are class-aware (``images_per_class`` above 0).
    """

    images: int
    batch_size: int
    images_per_class: int = 0
    processes: int = 1

    @property
    def full(self) -> int:
        """Number of batches of ``batch_size`` images."""
        return self.images // self.batch_size

    @property
    def last(self) -> int:
        """Images that each process gets of the smaller last batch, 0 if there is none."""
        return 0 if self.images_per_class else self.images % self.batch_size // self.processes

    @property
    def steps(self) -> int:
        """Number of all batches."""
        return self.full + (self.last > 0)

    @property
    def trained(self) -> int:
        """Number of images in all batches."""
        return self.full * self.batch_size + self.last * self.processes

    @property
    def problem(self) -> str | None:
        """Why training cannot have such batches, as said of the setting ``training.batch_size``."""
        batch, each = self.batch_size, self.images_per_class
        if batch % (self.processes * max(each, 1)):
            among = f"{self.processes} processes" if self.processes > 1 else "classes"
            kind = f" with {each} images of each class" if each else ""
            return f"{batch} cannot be divided among {among}{kind}; change either"
        if each and batch > self.images:
            return f"{batch} is more than the {self.images} training images; lower it"
        too_few = f"of one image{' for each process' if self.processes > 1 else ''}, too few for batch statistics"
        if batch == self.processes:
            return f"{batch} makes batches {too_few}; raise it"
        if self.last == 1:
            return f"{batch} leaves a last batch {too_few}, of {self.images:,} images; change it"
        return None


@dataclass(frozen=True)
class ClassBatches:
    """Class-aware batches as MCL's sampler makes them, in which the images of a class are adjacent.

    A batch of B holds B / m different classes and m = ``images_per_class`` different images of each, in the layout
    [c1 c1 c2 c2 ...] for m = 2. Classes and images are drawn independently for every batch: an epoch is floor(N / B)
    batches, not a pass over all N images. Where there are fewer classes than B / m, they take turns, and a class's
    later turn may draw an image again. ``labels`` int64 [N], on the CPU.
    """

    labels: Tensor
    batch_size: int
    images_per_class: int

    def __post_init__(self) -> None:
        each = self.images_per_class
        if problem := EpochBatches(len(self.labels), self.batch_size, each).problem:
            raise UsageError(f"training.batch_size: {problem}")
        counts = self.labels.bincount()
        if (fewest := int(counts[counts > 0].min())) < each:
            raise UsageError(
                f"images_per_class: {each} asked for, but one class has {fewest} training images; lower it "
                "or raise data.subset"
            )

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return len(self.labels) // self.batch_size

    def order(self, draws: torch.Generator) -> Tensor:
        """Return image indices int64 [steps * batch_size] of one epoch."""
        sizes = self.labels.bincount()
        first = sizes.cumsum(0) - sizes
        classes = _turns(sizes.nonzero().squeeze(1), self.steps, self.batch_size // self.images_per_class, draws)
        ranks = _different(sizes[classes], self.images_per_class, draws)
        by_class = self.labels.argsort(stable=True)
        return by_class[first[classes].unsqueeze(-1) + ranks].flatten()


def _turns(candidates: Tensor, steps: int, slots: int, draws: torch.Generator) -> Tensor:
    """Draw ``slots`` candidates for each step, [steps, slots]; none is drawn twice before all have been drawn."""
    rounds = -(-slots // len(candidates))
    keys = torch.rand(steps, rounds, len(candidates), dtype=torch.float64, generator=draws)
    return candidates[keys.argsort(dim=-1).flatten(1)[:, :slots]]


def _different(sizes: Tensor, count: int, draws: torch.Generator) -> Tensor:
    """Draw ``count`` different numbers below every size n, in random order: [...] -> [..., count]."""
    chosen = sizes.new_empty((*sizes.shape, 0))
    for taken in range(count):
        number = (torch.rand(sizes.shape, dtype=torch.float64, generator=draws) * (sizes - taken)).long()
        for earlier in chosen.sort(dim=-1).values.unbind(-1):  # ascending: each skips one number that is taken
            number += number >= earlier
        chosen = torch.cat([chosen, number.unsqueeze(-1)], dim=-1)
    return chosen


def epoch_order(seed: int, epoch: int, count: int, stream: int = 0, classes: ClassBatches | None = None) -> Tensor:
    """Return the order of an `epoch_plan` alone: image indices int64 [N], where N is ``count`` without ``classes``."""
    draws = generator(seed, "order", epoch, stream)
    return classes.order(draws) if classes else torch.randperm(count, generator=draws)


def epoch_plan(
    seed: int,
    epoch: int,
    count: int,
    views: int,
    augmentation: Augmentation,
    stream: int = 0,
    classes: ClassBatches | None = None,
    policies: Sequence[str] = (),
) -> EpochPlan:
    """Return the plan of ``epoch`` (from 0) over ``count`` images, shuffled, or as ``classes`` says in class-aware
    batches; ``policies`` names one for each view, none for crop and flip alone.

    Each view has a generator of its own, so the first views are the same numbers however many there are: methods with
    one view and with three see the same first crops. ``stream`` distinguishes a second pass over the images in one
    epoch.
    """
    order = epoch_order(seed, epoch, count, stream, classes)
    count = len(order)
    numbers = policy_numbers(seed, epoch, stream, count, policies or ["standard"] * views)
    drawn = numbers.shape[1]
    plan = EpochPlan(torch.zeros(count * (8 + views * (3 + 4 * drawn)), dtype=torch.uint8), views, drawn)
    plan.order.copy_(order)
    plan.numbers.copy_(numbers)
    offsets = 2 * augmentation.pad + 1
    for view in range(views):
        draws = generator(seed, "augment", epoch, stream, view)
        plan.rows[view] = torch.randint(offsets, (count,), generator=draws)
        plan.columns[view] = torch.randint(offsets, (count,), generator=draws)
        if augmentation.flip:
            plan.flips[view] = torch.randint(2, (count,), generator=draws)
    for view, name in enumerate(policies):
        if not POLICIES[name].flips:
            plan.flips[view] = False
        if not POLICIES[name].crops:
            plan.rows[view] = plan.columns[view] = augmentation.pad
    return plan


def subset_indices(labels: Tensor, count: int) -> Tensor:
    """Return indices int64 [count] of a class-balanced subset.

    The same for every seed, so that seeds differ in training and not in data; a smaller subset is the beginning of a
    larger one. Classes take turns in the order of their labels: the last, incomplete round serves the lowest labels.
    Raise UsageError when there are fewer than ``count`` images.
    """
    if count > len(labels):
        raise UsageError(
            f"data.subset or data.test_subset: {count} images requested, but there are only {len(labels)}; lower it"
        )
    shuffled = torch.randperm(len(labels), generator=generator(0, "subset"))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    sizes = labels.bincount()
    turn = torch.cat([torch.arange(int(size)) for size in sizes])
    return by_class[turn.argsort(stable=True)][:count]


def hold_out(labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the training indices and ``count`` class-balanced ones held out, the same for every seed."""
    held_out = subset_indices(labels, count)
    stays = torch.ones(len(labels), dtype=torch.bool)
    stays[held_out] = False
    return stays.nonzero().squeeze(1), held_out

"""Augmentation policies: what happens to a view's pixels besides, or instead of, crop and flip; found by name.

A policy maps a whole batch on the images' device, and takes its random numbers, uniform in [0, 1), from the plan of the
epoch. torchvision's transforms of these names have the same distribution.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from okdbench.data.operations import Operation, perform_operations, rotated
from okdbench.errors import UsageError
from okdbench.seeds import generator


class Policy:
    """Crop and flip, and nothing else: the base of all policies.

    ``crops`` and ``flips`` say whether views are cropped and flipped as the normalisation preset and the data set have
    it; ``numbers`` is how many random numbers an image needs. A policy is made for one size of images on one device.
    """

    crops: ClassVar[bool] = True
    flips: ClassVar[bool] = True
    numbers: ClassVar[int] = 0

    def __init__(self, side: int, device: torch.device | str) -> None:
        self.side, self.device = side, device

    def __call__(self, pixels: Tensor, numbers: Tensor) -> Tensor:
        """Return images uint8 [B, 3, S, S] changed as ``numbers`` float32 [numbers, B] say."""
        return pixels


class Unaugmented(Policy):
    """The image as it is."""

    crops, flips = False, False


class Rotation(Policy):
    """Then turned by up to 15 degrees to either side, nearest neighbour, black outside."""

    numbers = 1
    degrees = 15.0

    def __call__(self, pixels: Tensor, numbers: Tensor) -> Tensor:
        """Turn each image by an angle of its own."""
        angles: Tensor = (2 * numbers[0] - 1) * self.degrees
        return rotated(pixels, angles)


class Cutout(Policy):
    """Then a black square of 16 pixels, centred on any pixel and cut off at the border."""

    numbers = 2
    length = 16

    def __call__(self, pixels: Tensor, numbers: Tensor) -> Tensor:
        """Cut one hole out of each image."""
        cut: Tensor = pixels.masked_fill(self.holes((numbers * self.side).long()).unsqueeze(1), 0)
        return cut

    def holes(self, centres: Tensor) -> Tensor:
        """Return which pixels are cut, bool [B, S, S], around the centres (row, column) int64 [2, B]."""
        steps = torch.arange(self.side, device=centres.device)
        first = centres.unsqueeze(-1) - self.length // 2
        rows, columns = (steps >= first) & (steps < first + self.length // 2 * 2)
        inside: Tensor = rows.unsqueeze(2) & columns.unsqueeze(1)
        return inside


class RandAugment(Policy):
    """No flip, but two operations out of 14, drawn with replacement, at level 9 of 31."""

    flips = False
    level, levels = 9, 31
    numbers = 4

    def __init__(self, side: int, device: torch.device | str) -> None:
        super().__init__(side, device)
        known = [each for each in Operation if each is not Operation.Invert]
        self._strengths = torch.tensor([each.strength(self.level, self.levels, side) for each in known], device=device)
        self._signed = torch.tensor([each.signed for each in known], device=device)

    def __call__(self, pixels: Tensor, numbers: Tensor) -> Tensor:
        """Perform the operations of each image in turn."""
        for drawn, sign in zip(numbers[:2], numbers[2:], strict=True):
            chosen = (drawn * len(self._strengths)).long()
            strength = self._strengths[chosen]
            pixels = perform_operations(
                pixels, chosen, torch.where(self._signed[chosen] & (sign < 0.5), -strength, strength)
            )
        return pixels


class AutoAugment(Policy):
    """No flip, but two operations, each with its own probability and level, out of the 25 pairs found for ImageNet."""

    flips = False
    levels = 10
    numbers = 5

    def __init__(self, side: int, device: torch.device | str) -> None:
        from okdbench.torchvision_shim import transforms

        super().__init__(side, device)
        pairs = [
            [(Operation[name], chance, level or 0) for name, chance, level in pair]
            for pair in transforms.AutoAugment(transforms.AutoAugmentPolicy.IMAGENET).policies
        ]
        strengths = [[each.strength(level, self.levels, side) for each, _, level in pair] for pair in pairs]
        self._operations = torch.tensor([[each for each, _, _ in pair] for pair in pairs], device=device)
        self._signed = torch.tensor([[each.signed for each, _, _ in pair] for pair in pairs], device=device)
        self._chances = torch.tensor([[chance for _, chance, _ in pair] for pair in pairs], device=device)
        self._strengths = torch.tensor(strengths, device=device)

    def __call__(self, pixels: Tensor, numbers: Tensor) -> Tensor:
        """Draw a pair for each image; perform its operations in turn, or not."""
        drawn, *rest = numbers
        pair = (drawn * len(self._operations)).long()
        for turn, (chance, sign) in enumerate(zip(rest[:2], rest[2:], strict=True)):
            happens = chance <= self._chances[pair, turn]
            operation = torch.where(happens, self._operations[pair, turn], Operation.Identity)
            strength, signed = self._strengths[pair, turn], self._signed[pair, turn]
            pixels = perform_operations(pixels, operation, torch.where(signed & (sign < 0.5), -strength, strength))
        return pixels


POLICIES: dict[str, type[Policy]] = {
    "standard": Policy,
    "none": Unaugmented,
    "rotation": Rotation,
    "cutout": Cutout,
    "randaugment": RandAugment,
    "autoaugment": AutoAugment,
}


def policy_of_each_view(named: Sequence[str], views: int) -> tuple[str, ...]:
    """Return a policy for each view: that which is named for it or for all, or the standard one where none is.

    Raise UsageError where they are neither one for all views nor one for each.
    """
    named = tuple(named) or ("standard",)
    if len(named) not in (1, views):
        has = f"{views} views" if views > 1 else "one view"
        raise UsageError(
            f"data.policies: names {len(named)} policies, but the method has {has}; name one for all of them, or one "
            "for each"
        )
    return named * views if len(named) == 1 else named


def policy_numbers(seed: int, epoch: int, stream: int, count: int, policies: Sequence[str]) -> Tensor:
    """Return the random numbers of an epoch over ``count`` images, float32 [V, D, N]: one policy for each of V views.

    D is the largest number that one of them needs. Each view has a generator of its own.
    """
    needed = [POLICIES[name].numbers for name in policies]
    numbers = torch.zeros(len(policies), max(needed, default=0), count)
    for view, own in enumerate(needed):
        if own:
            numbers[view, :own] = torch.rand(own, count, generator=generator(seed, "policy", epoch, stream, view))
    return numbers


def apply_policies(views: Tensor, policies: Sequence[Policy], numbers: Tensor) -> Tensor:
    """Return views uint8 [V, B, 3, S, S], each changed by its policy with the first of its ``numbers`` [V, D, B]."""
    if not any(policy.numbers for policy in policies):
        return views
    every = zip(policies, views.unbind(), numbers.unbind(), strict=True)
    return torch.stack([policy(pixels, own[: policy.numbers]) for policy, pixels, own in every])

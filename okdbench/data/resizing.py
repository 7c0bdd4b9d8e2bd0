"""Random parts of images, resized and mirrored on the device where the images lie, as torchvision does one by one.

RandomResizedCrop of images of one size: the rectangles of an epoch are drawn before it starts, from keyed CPU
generators, and every batch is cut with two matrix products, whose weights are those of Pillow's bilinear filter with
antialiasing. As in Pillow, weights and values are whole numbers, so that all devices make the same pixels.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from okdbench.seeds import generator

RATIO = (3 / 4, 4 / 3)
"""Least and largest ratio of width to height of a random part."""
_ATTEMPTS = 10
_ONE = 2.0**22
"""Pillow's weights are whole numbers that add up to this; float64 holds their products and sums exactly."""


@dataclass(frozen=True)
class Rectangles:
    """One part of each of N square images: ``tops``, ``lefts``, ``heights``, ``widths``, int64 [N], in pixels.

    ``flips``, bool [N], says which parts are mirrored.
    """

    tops: Tensor
    lefts: Tensor
    heights: Tensor
    widths: Tensor
    flips: Tensor

    def at(self, places: slice, device: torch.device | str) -> "Rectangles":
        """Return those of some images, on a device."""
        parts = (self.tops, self.lefts, self.heights, self.widths, self.flips)
        return Rectangles(*(part[places].to(device) for part in parts))

    @staticmethod
    def whole(count: int, side: int, device: torch.device | str) -> "Rectangles":
        """Return the whole of each image."""
        zeros = torch.zeros(count, dtype=torch.long, device=device)
        return Rectangles(zeros, zeros, zeros + side, zeros + side, zeros.bool())


def random_rectangles(
    seed: int, epoch: int, count: int, side: int, area: tuple[float, float], flip: bool, stream: int = 0, view: int = 0
) -> Rectangles:
    """Draw a part of each of ``count`` images of ``side`` pixels, in the order of the epoch.

    As torchvision's RandomResizedCrop: ten attempts at an area, uniform between the two parts of the whole's, and a
    ratio, uniform in its logarithm; the whole image where none fits into it. ``flip``: mirrored with probability 0.5.
    """
    draws = generator(seed, "augment", epoch, stream, view)
    shape = (count, _ATTEMPTS)
    areas = side * side * (area[0] + (area[1] - area[0]) * torch.rand(shape, dtype=torch.float64, generator=draws))
    low, high = (math.log(ratio) for ratio in RATIO)
    ratios = torch.exp(low + (high - low) * torch.rand(shape, dtype=torch.float64, generator=draws))
    widths, heights = (areas * ratios).sqrt().round().long(), (areas / ratios).sqrt().round().long()
    fits = (widths > 0) & (widths <= side) & (heights > 0) & (heights <= side)
    first = fits.long().argmax(dim=1, keepdim=True)  # of equal values the first
    found = fits.any(dim=1)
    width = torch.where(found, widths.gather(1, first).squeeze(1), side)
    height = torch.where(found, heights.gather(1, first).squeeze(1), side)
    places = torch.rand(2, count, dtype=torch.float64, generator=draws)
    flips = torch.randint(2, (count,), generator=draws).bool() if flip else torch.zeros(count, dtype=torch.bool)
    return Rectangles(
        (places[0] * (side - height + 1)).long(), (places[1] * (side - width + 1)).long(), height, width, flips
    )


def resized(images: Tensor, parts: Rectangles, size: int) -> Tensor:
    """Return the parts of images uint8 [B, 3, S, S] as uint8 [B, 3, size, size], all on the same device.

    As torchvision and Pillow make them, to the bit where Pillow begins with the lines of an image, as it always did
    before version 13, else within one grey level. Mirrored afterwards where ``parts.flips`` says so.
    """
    side = images.shape[-1]
    across = _weights(parts.lefts, parts.widths, side, size)
    across = torch.where(parts.flips[:, None, None], across.flip(1), across)
    down = _weights(parts.tops, parts.heights, side, size)
    narrow = _whole_numbers(images.double() @ across.transpose(1, 2).unsqueeze(1))
    return _whole_numbers(down.unsqueeze(1) @ narrow).to(torch.uint8)


def _whole_numbers(sums: Tensor) -> Tensor:
    return ((sums + _ONE / 2) / _ONE).floor_().clamp_(0, 255)


def _weights(starts: Tensor, lengths: Tensor, side: int, size: int) -> Tensor:
    """Return float64 [B, size, side]: the share of each pixel of a line in each of the resized line's, times `_ONE`.

    A triangle around the centre of the resized pixel, of twice its width, cut off at the ends of the part.
    """
    scale = (lengths.double() / size).view(-1, 1, 1)
    reach = scale.clamp(min=1.0)
    pixels = torch.arange(side, device=starts.device).view(1, 1, -1) - starts.view(-1, 1, 1)
    centres = (torch.arange(size, device=starts.device, dtype=torch.float64).view(1, -1, 1) + 0.5) * scale
    shares = (1 - ((pixels - centres + 0.5) * (1 / reach)).abs()).clamp(min=0)
    shares = shares * ((pixels >= 0) & (pixels < lengths.view(-1, 1, 1)))
    return (shares / shares.sum(dim=2, keepdim=True) * _ONE + 0.5).floor_()

"""The operations of RandAugment and AutoAugment on whole batches of uint8 images, on the images' device.

Every image has an operation and a strength of its own, and the same work is done for all of them, so that it can be
recorded in a graph: one nearest-neighbour gather moves pixels, then intensities are mapped, then images are blended;
whoever drew something else passes through unchanged. Meanings and strengths are those of torchvision.
"""

from enum import IntEnum

import torch
from torch import Tensor


class Operation(IntEnum):
    """torchvision's names; the first 14, in this order, are RandAugment's."""

    Identity = 0
    ShearX = 1
    ShearY = 2
    TranslateX = 3
    TranslateY = 4
    Rotate = 5
    Brightness = 6
    Color = 7
    Contrast = 8
    Sharpness = 9
    Posterize = 10
    Solarize = 11
    AutoContrast = 12
    Equalize = 13
    Invert = 14

    @property
    def signed(self) -> bool:
        """Whether the strength gets a random sign."""
        return Operation.ShearX <= self <= Operation.Sharpness

    def strength(self, level: int, levels: int, side: int) -> float:
        """Return the strength of level 0 .. levels - 1 for images of that side.

        Shears are slopes, translations pixels, rotations degrees; brightness, colour, contrast and sharpness are
        multiplied by 1 + strength; posterised images keep that many bits, solarised ones are inverted from there on.
        """
        part = level / (levels - 1)
        if self is Operation.Posterize:
            return 8 - round(4 * part)
        if self is Operation.Solarize:
            return 255 * (1 - part)
        return part * _LARGEST.get(self, 0.0) * (side if self in _TRANSLATIONS else 1)


_TRANSLATIONS = (Operation.TranslateX, Operation.TranslateY)
_BLENDS = (Operation.Brightness, Operation.Color, Operation.Contrast, Operation.Sharpness)
_LARGEST = {
    **dict.fromkeys((Operation.ShearX, Operation.ShearY), 0.3),
    **dict.fromkeys(_TRANSLATIONS, 150 / 331),
    Operation.Rotate: 30.0,
    **dict.fromkeys(_BLENDS, 0.9),
}


def perform_operations(pixels: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """Return images uint8 [B, 3, S, S] after the ``operation`` int64 [B] of each, at its ``strength`` float32 [B]."""
    return _blended(_mapped(_moved(pixels, operation, strength), operation, strength), operation, strength)


def rotated(pixels: Tensor, degrees: Tensor) -> Tensor:
    """Return images uint8 [B, 3, S, S] turned counter-clockwise by ``degrees`` [B], black outside."""
    turn = torch.deg2rad(degrees)
    cosine, sine, still = turn.cos(), turn.sin(), torch.zeros_like(turn)
    return _gathered(pixels, ((cosine, -sine, still), (sine, cosine, still)))


def _moved(pixels: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    def drawn(which: Operation) -> Tensor:
        return torch.where(operation == which, strength, 0.0)

    middle = pixels.shape[-1] / 2
    turn = torch.deg2rad(drawn(Operation.Rotate))
    shear_x, shear_y = drawn(Operation.ShearX), drawn(Operation.ShearY)
    across = middle * shear_x - drawn(Operation.TranslateX).trunc()  # shears keep the upper left corner
    down = middle * shear_y - drawn(Operation.TranslateY).trunc()
    cosine, sine = turn.cos(), turn.sin()
    return _gathered(pixels, ((cosine, shear_x - sine, across), (shear_y + sine, cosine, down)))


def _gathered(pixels: Tensor, matrix: tuple[tuple[Tensor, ...], tuple[Tensor, ...]]) -> Tensor:
    """Each pixel (x, y), from the centre, is the nearest one to (a x + b y + c, d x + e y + f), or black."""
    batch, channels, _, side = pixels.shape
    centre = (side - 1) / 2
    x = torch.arange(side, device=pixels.device) - centre
    columns, rows = (
        (a.view(-1, 1, 1) * x + b.view(-1, 1, 1) * x.view(-1, 1) + (c + centre).view(-1, 1, 1)).round().long()
        for a, b, c in matrix
    )
    inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    places = torch.where(inside, rows * side + columns, 0).view(batch, 1, -1).expand(-1, channels, -1)
    found = pixels.flatten(2).gather(2, places).view_as(pixels)
    return found * inside.unsqueeze(1)


def _mapped(pixels: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    from okdbench.torchvision_shim import v2

    own, strength = operation.view(-1, 1, 1, 1), strength.view(-1, 1, 1, 1)
    kept = (256 - 2 ** (8 - strength)).clamp(0, 255).to(torch.uint8)
    mapped = torch.where(own == Operation.Posterize, pixels & kept, pixels)
    inverts = (own == Operation.Invert) | ((own == Operation.Solarize) & (pixels >= strength))
    mapped = torch.where(inverts, 255 - pixels, mapped)
    mapped = torch.where(own == Operation.AutoContrast, _stretched(pixels), mapped)
    return torch.where(own == Operation.Equalize, v2.functional.equalize(pixels), mapped)


def _stretched(pixels: Tensor) -> Tensor:
    """Each channel from black to white; torchvision's own reads back from the device."""
    values = pixels.float()
    low, high = (extreme(dim=(-2, -1), keepdim=True) for extreme in (values.amin, values.amax))
    return torch.where(low == high, values, ((values - low) * (255 / (high - low))).clamp(0, 255)).to(torch.uint8)


def _blended(pixels: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """Move each image away from, or towards, what its operation makes of it at strength -1."""
    from okdbench.torchvision_shim import transforms

    own = operation.view(-1, 1, 1, 1)
    values, grey = pixels.float(), transforms.functional.rgb_to_grayscale(pixels).float()
    plain = torch.where(own == Operation.Color, grey, 0.0)
    plain = torch.where(own == Operation.Contrast, grey.mean(dim=(1, 2, 3), keepdim=True), plain)
    plain = torch.where(own == Operation.Sharpness, _smoothed(values), plain)
    blends = (own >= min(_BLENDS)) & (own <= max(_BLENDS))
    away = torch.where(blends, strength.view(-1, 1, 1, 1), 0.0)
    return ((1.0 + away) * values + -away * plain).clamp(0, 255).to(torch.uint8)


def _smoothed(values: Tensor) -> Tensor:
    """The mean of each pixel, weighing 5, and its 8 neighbours, rounded; the border stays."""
    lines = values[..., :-2, :] + values[..., 1:-1, :] + values[..., 2:, :]
    sums = lines[..., :-2] + lines[..., 1:-1] + lines[..., 2:] + 4 * values[..., 1:-1, 1:-1]
    smooth = values.clone()
    smooth[..., 1:-1, 1:-1] = (sums / 13).round()
    return smooth

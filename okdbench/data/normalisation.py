"""How images are normalised, padded and flipped: the constants of each code base, as named presets.

No two families of papers use the same constants, so a run names the preset it used.
"""

from dataclasses import dataclass
from typing import Literal

from okdbench import data
from okdbench.data.base import Constants
from okdbench.errors import UsageError, did_you_mean

Padding = Literal["zero", "reflect"]


@dataclass(frozen=True)
class Augmentation:
    """Pad, crop at a random offset, flip with probability 0.5 where ``flip``, normalise.

    ``mean`` and ``std`` are RGB constants of pixels / 255. ``pad`` pixels are added on every side, so offsets run from
    0 to 2 ``pad``; they are black before normalisation (``zero``) or mirror the image without repeating its edge.
    """

    mean: Constants
    std: Constants
    pad: int = 4
    padding: Padding = "zero"
    flip: bool = True


@dataclass(frozen=True)
class Preset:
    """What one code base uses: its padding, and (mean, std) for each data set that it trains on.

    ``augmented`` is False if images are trained on as they are, neither cropped nor flipped.
    """

    padding: Padding
    constants: dict[str, tuple[Constants, Constants]]
    augmented: bool = True


_CIFAR10 = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_ONE = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
_FFL = (129.3 / 255, 124.1 / 255, 112.4 / 255), (68.2 / 255, 65.4 / 255, 70.4 / 255)
_DCM = (125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255)
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_OKDDIP_CIFAR100 = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)

# Source of each: the authors' public repository (dkel also PCL; ffl also DCCL; mcl also L-MCL).
PRESETS = {
    "dkel": Preset(
        "zero",
        {
            "cifar10": _CIFAR10,
            "cifar100": ((0.5071, 0.4866, 0.4409), (0.2675, 0.2565, 0.2761)),
            "tiny-imagenet": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),
        },
    ),
    "okddip": Preset("zero", {"cifar10": _CIFAR10, "cifar100": _OKDDIP_CIFAR100}),
    "one": Preset("zero", {"cifar10": _ONE, "cifar100": _ONE}),
    "ffl": Preset("reflect", {"cifar10": _FFL, "cifar100": _FFL}),
    "ffsd": Preset("reflect", {"cifar100": _OKDDIP_CIFAR100}),
    # torchvision's, which the papers' code uses on ImageNet and others use on its small version too.
    "imagenet": Preset("zero", {"imagenet": _IMAGENET, "tiny-imagenet": _IMAGENET}),
    "mcl": Preset("zero", {"cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))}),
    "dcm": Preset("reflect", {"cifar10": _DCM, "cifar100": _DCM}),
    # HSAKD's, of MCL's authors: linear evaluation on other data sets than the networks were trained on.
    "hsakd": Preset("zero", {"stl10": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), "tiny-imagenet": _IMAGENET}),
    "switokd": Preset(
        "zero",
        {
            "cifar10": ((0.491, 0.482, 0.447), (0.247, 0.243, 0.262)),
            "cifar100": ((0.507, 0.487, 0.441), (0.267, 0.256, 0.276)),
            "tiny-imagenet": _ONE,
        },
    ),
    "okdph": Preset(
        "zero",
        {
            "cifar10": _ONE,
            "cifar100": (
                (0.50707516, 0.48654887, 0.44091784),
                (0.26733429, 0.25643846, 0.27615047),
            ),
            "imagenet": _IMAGENET,
        },
    ),
    # Not from a code base: this is how papers train on SVHN.
    "plain": Preset("zero", {}, augmented=False),
}


def augmentation(name: str, preset: str) -> Augmentation:
    """Return the augmentation of data set ``name`` under ``preset``; the data set's own constants where the preset has
    none.

    Raise UsageError for an unknown data set or preset.
    """
    dataset = data.get(name)
    if preset not in PRESETS:
        raise UsageError(f'data.normalisation: unknown preset "{preset}": {did_you_mean(preset, PRESETS)}')
    chosen = PRESETS[preset]
    mean, std = chosen.constants.get(dataset.stands_for or dataset.name, (dataset.mean, dataset.std))
    if not chosen.augmented:
        return Augmentation(mean, std, pad=0, flip=False)
    return Augmentation(mean, std, padding=chosen.padding, flip=dataset.flip)

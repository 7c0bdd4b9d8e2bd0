import pytest

from okdbench.data import Augmentation, augmentation, available, get
from okdbench.errors import UsageError

CIFAR10 = (0.4914, 0.4822, 0.4465)
FFL = (129.3 / 255, 124.1 / 255, 112.4 / 255), (68.2 / 255, 65.4 / 255, 70.4 / 255)

# (preset, data set, mean, std, padding) of the authors' repositories.
TABLE = [
    ("dkel", "cifar10", CIFAR10, (0.2470, 0.2435, 0.2616), "zero"),
    ("dkel", "cifar100", (0.5071, 0.4866, 0.4409), (0.2675, 0.2565, 0.2761), "zero"),
    ("dkel", "tiny-imagenet", (0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262), "zero"),
    ("okddip", "cifar10", CIFAR10, (0.2470, 0.2435, 0.2616), "zero"),
    ("okddip", "cifar100", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), "zero"),
    ("one", "cifar10", CIFAR10, (0.2023, 0.1994, 0.2010), "zero"),
    ("one", "cifar100", CIFAR10, (0.2023, 0.1994, 0.2010), "zero"),
    ("ffl", "cifar10", *FFL, "reflect"),
    ("ffl", "cifar100", *FFL, "reflect"),
    ("ffsd", "cifar100", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), "reflect"),
    ("imagenet", "imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "zero"),
    ("imagenet", "tiny-imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "zero"),
    ("mcl", "cifar100", (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761), "zero"),
]


@pytest.mark.parametrize(("preset", "name", "mean", "std", "padding"), TABLE)
def test_presets_are_those_of_the_papers_code(preset, name, mean, std, padding) -> None:
    assert augmentation(name, preset) == Augmentation(mean, std, pad=4, padding=padding, flip=True)


@pytest.mark.parametrize(
    ("name", "preset", "padding"),
    [
        ("digits", "dkel", "zero"),
        ("digits", "ffl", "reflect"),
        ("tiny-imagenet", "okddip", "zero"),
        ("cifar10", "ffsd", "reflect"),
    ],
)
def test_a_data_set_outside_the_preset_keeps_its_own_constants(name: str, preset: str, padding: str) -> None:
    dataset, chosen = get(name), augmentation(name, preset)
    assert (chosen.mean, chosen.std, chosen.padding) == (dataset.mean, dataset.std, padding)


@pytest.mark.parametrize("name", ["digits", "digits-8x8", "svhn", "svhn-extra"])
def test_digits_are_never_mirrored(name: str) -> None:
    assert not augmentation(name, "dkel").flip
    assert not augmentation(f"synthetic-{name}", "dkel").flip


@pytest.mark.parametrize("name", ["svhn-extra", "cifar10"])
def test_plain_images_stay_as_they_are(name: str) -> None:
    dataset = get(name)
    assert augmentation(name, "plain") == Augmentation(dataset.mean, dataset.std, pad=0, flip=False)


@pytest.mark.parametrize("name", list(available()))
@pytest.mark.parametrize("preset", ["dkel", "ffl"])
def test_stand_ins_are_normalised_as_what_they_stand_for(name: str, preset: str) -> None:
    assert augmentation(f"synthetic-{name}", preset) == augmentation(name, preset)
    assert augmentation("tiny-imagenet-subset", preset) == augmentation("tiny-imagenet", preset)


def test_an_unknown_preset_is_answered_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r'data\.normalisation: unknown preset "okdip": did you mean "okddip"\?'):
        augmentation("cifar100", "okdip")

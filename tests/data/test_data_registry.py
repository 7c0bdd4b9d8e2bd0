import subprocess
import sys

import pytest

from okdbench.data import available, get
from okdbench.errors import UsageError


def test_every_data_set_is_found_with_its_shape() -> None:
    shapes = {
        name: (dataset.classes, dataset.image_size, dataset.train_size, dataset.test_size, dataset.flip)
        for name, dataset in available().items()
    }
    assert shapes == {
        "cifar10": (10, 32, 50_000, 10_000, True),
        "cifar100": (100, 32, 50_000, 10_000, True),
        "digits": (10, 32, 1442, 355, False),
        "digits-8x8": (10, 8, 1442, 355, False),
        "imagenet": (1000, 224, 1_281_167, 50_000, True),
        "imagenet-subset": (1000, 224, 1_281_167, 50_000, True),
        "stl10": (10, 96, 5000, 8000, True),
        "svhn": (10, 32, 73_257, 26_032, False),
        "svhn-extra": (10, 32, 604_388, 26_032, False),
        "tiny-imagenet": (200, 64, 100_000, 10_000, True),
        "tiny-imagenet-subset": (200, 64, 5000, 1000, True),
    }


def test_each_has_a_synthetic_stand_in_that_says_so() -> None:
    for name, dataset in available().items():
        made = get(f"synthetic-{name}")
        assert made.name == f"synthetic-{name}"
        assert made.title.startswith("synthetic")
        assert (made.classes, made.image_size) == (dataset.classes, dataset.image_size)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("tinyimagenet", "tiny-imagenet"),
        ("synthetic-cifar", "synthetic-cifar10"),
        ("synthetic-synthetic-digits", "synthetic-digits"),
    ],
)
def test_unknown_names_are_answered_with_a_suggestion(name: str, near: str) -> None:
    with pytest.raises(UsageError, match=f'unknown data set "{name}": did you mean "{near}'):
        get(name)


def test_listing_data_sets_loads_neither_torchvision_nor_scikit_learn() -> None:
    code = "import sys, okdbench.data as d; d.available(); print({'torchvision', 'sklearn'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

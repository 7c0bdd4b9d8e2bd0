"""The images that need no files: digits and synthetic ones."""

import hashlib
from pathlib import Path

import pytest
import torch

from okdbench.data import Images, get
from okdbench.errors import UsageError

NOWHERE = Path("/nonexistent")


def digest(images: Images) -> str:
    parts = (images.train, images.train_labels, images.test, images.test_labels)
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()[:16]


@pytest.fixture(scope="module")
def digits() -> Images:
    return get("digits").read(NOWHERE)


def test_digits_are_split_by_class(digits: Images) -> None:
    train, test = digits.train_labels.bincount(), digits.test_labels.bincount()
    assert test.tolist() == ((train + test) // 5).tolist()
    assert (len(digits.train), len(digits.test)) == (1442, 355)


def test_every_fifth_digit_of_a_class_is_a_test_image(digits: Images) -> None:
    from sklearn.datasets import load_digits

    original = load_digits()
    sevens = torch.from_numpy(original.images[original.target == 7])
    ours = digits.test[digits.test_labels == 7]
    # The mean over the 4 x 4 pixels that grew out of the middle of an original image keeps what is bright and dark.
    small = torch.nn.functional.avg_pool2d(ours[:, 0].float(), 4)
    for image, expected in zip(small, sevens[4::5], strict=True):
        assert torch.corrcoef(torch.stack([image.flatten(), expected.flatten().float()]))[0, 1] > 0.9


def test_digits_are_resized_exactly(digits: Images) -> None:
    assert digits.train.shape[1:] == (3, 32, 32)
    assert torch.equal(digits.train[:, 0], digits.train[:, 2])
    assert digits.train.max() == 255
    assert digest(digits) == "59054187932ee747"


def test_small_digits_are_those_of_scikit_learn_in_the_same_split(digits: Images) -> None:
    from sklearn.datasets import load_digits

    small, original = get("digits-8x8").read(NOWHERE), load_digits()
    assert torch.equal(small.train_labels, digits.train_labels) and torch.equal(small.test_labels, digits.test_labels)
    pixels = (torch.from_numpy(original.images[original.target == 7])[4::5] * 255 / 16).round()
    sevens = small.test[small.test_labels == 7]
    assert all(torch.equal(sevens[:, channel].double(), pixels) for channel in range(3))


@pytest.mark.parametrize("name", ["digits", "digits-8x8"])
def test_the_digits_constants_are_those_of_the_training_images(name: str) -> None:
    values = get(name).read(NOWHERE).train.double() / 255
    assert get(name).mean == pytest.approx(values.mean((0, 2, 3)).tolist(), abs=5e-5)
    assert get(name).std == pytest.approx(values.std((0, 2, 3), correction=0).tolist(), abs=5e-5)


def test_synthetic_images_are_the_same_on_every_machine() -> None:
    torch.manual_seed(1)
    assert digest(get("synthetic-cifar10").read(NOWHERE)) == "f70b108af0d3b09a"


def test_synthetic_images_in_full_number_have_a_name_of_their_own() -> None:
    dataset, real = get("synthetic-full-digits"), get("digits")
    images = dataset.read(NOWHERE)
    assert (len(images.train), len(images.test)) == (real.train_size, real.test_size)
    assert (dataset.name, dataset.stands_for) == ("synthetic-full-digits", "digits")
    assert dataset.title == f"synthetic images ({real.title} shape and size)"
    with pytest.raises(UsageError, match="unknown data set"):
        get("synthetic-full-imagenet")  # far too large to be made


def test_large_synthetic_images_are_few_and_show_some_of_the_classes() -> None:
    dataset = get("synthetic-imagenet")
    images = dataset.read(NOWHERE)
    assert images.train.shape == (200, 3, 224, 224) and images.test.shape == (100, 3, 224, 224)
    assert dataset.classes == 1000 and not dataset.streamed
    assert images.train_labels.bincount().tolist() == [4] * 50


@pytest.mark.parametrize("name", ["synthetic-cifar10", "synthetic-tiny-imagenet"])
def test_synthetic_classes_can_be_learnt(name: str) -> None:
    dataset = get(name)
    images = dataset.read(NOWHERE)
    train, test = images.train.flatten(1).float(), images.test.flatten(1).float()
    means = torch.stack([train[images.train_labels == label].mean(0) for label in range(dataset.classes)])
    assert (torch.cdist(test, means).argmin(1) == images.test_labels).float().mean() > 0.95
    assert not torch.equal(images.train[:10], images.test[:10])

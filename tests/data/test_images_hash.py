"""The hash of a data set's images: of every pixel and label, and of nothing else."""

from dataclasses import fields, replace

import pytest
import torch

from okdbench.data import Images


@pytest.fixture
def images() -> Images:
    pixels, labels = torch.arange(5 * 3 * 4, dtype=torch.uint8).view(5, 3, 2, 2), torch.arange(5)
    return Images(pixels, labels, pixels[:2], labels[:2])


@pytest.mark.parametrize("part", [each.name for each in fields(Images)])
def test_every_pixel_and_label_counts(images: Images, part: str) -> None:
    changed = getattr(images, part).clone()
    changed.view(-1)[-1] += 1
    assert replace(images, **{part: changed}).sha256() != images.sha256()


def test_where_a_split_ends_counts(images: Images) -> None:
    whole = torch.cat([images.train, images.test])
    other = Images(whole[:3], images.train_labels, whole[3:], images.test_labels)
    assert other.sha256() != images.sha256()


def test_how_they_are_stored_does_not_count(images: Images) -> None:
    stored = images.train.to(memory_format=torch.channels_last)
    assert not stored.is_contiguous()
    assert replace(images, train=stored).sha256() == images.sha256()

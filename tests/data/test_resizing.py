import math

import numpy as np
import pytest
import torch
from PIL import Image

from okdbench.data.resizing import Rectangles, random_rectangles, resized
from okdbench.seeds import generator
from okdbench.torchvision_shim import v2


def pixels(count: int, side: int) -> torch.Tensor:
    return torch.randint(256, (count, 3, side, side), generator=generator(0, "synthetic"), dtype=torch.uint8)


@pytest.mark.parametrize(("side", "size"), [(96, 32), (64, 32), (32, 32), (20, 32)])
def test_parts_are_those_of_pillow(side: int, size: int) -> None:
    images = pixels(40, side)
    parts = random_rectangles(0, 0, 40, side, (0.08, 1.0), flip=True)
    ours = resized(images, parts, size)
    theirs = []
    for image, *place, flip in zip(
        images, parts.tops, parts.lefts, parts.heights, parts.widths, parts.flips, strict=True
    ):
        cut = v2.functional.resized_crop(
            Image.fromarray(image.permute(1, 2, 0).numpy()), *map(int, place), [size, size]
        )
        theirs.append(np.asarray(v2.functional.horizontal_flip(cut) if flip else cut))
    wanted = torch.from_numpy(np.stack(theirs)).permute(0, 3, 1, 2).int()
    differences = (ours.int() - wanted).abs().amax(dim=(1, 2, 3))
    assert differences.max() <= 1
    # Pillow 13 resizes some parts in columns first that are taller than wide.
    assert not differences[parts.heights <= parts.widths].any()


def test_a_part_of_the_wanted_size_keeps_its_values() -> None:
    images = pixels(3, 32)
    assert torch.equal(resized(images, Rectangles.whole(3, 32, "cpu"), 32), images)


def test_rectangles_are_drawn_as_torchvision_draws_them() -> None:
    side, count = 96, 4000
    ours = random_rectangles(0, 0, count, side, (0.08, 1.0), flip=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        image = torch.zeros(3, side, side)
        drawn = [v2.RandomResizedCrop(32).make_params([image]) for _ in range(count)]
    for name, mine in (("height", ours.heights), ("width", ours.widths), ("top", ours.tops), ("left", ours.lefts)):
        theirs = torch.tensor([float(each[name]) for each in drawn])
        error = math.sqrt(2 * float(theirs.var()) / count)
        assert abs(float(mine.double().mean() - theirs.mean())) < 4 * error, name
        assert abs(float(mine.double().std() / theirs.std()) - 1) < 0.06, name
    assert bool(((ours.tops + ours.heights <= side) & (ours.lefts + ours.widths <= side)).all())
    assert 0.45 < float(ours.flips.double().mean()) < 0.55


def test_another_epoch_or_seed_has_other_rectangles_and_none_is_mirrored_unless_asked_for() -> None:
    tops = [
        random_rectangles(seed, epoch, 50, 64, (0.08, 1.0), False).tops
        for seed, epoch in [(0, 0), (0, 0), (0, 1), (1, 0)]
    ]
    assert torch.equal(tops[0], tops[1])
    assert not torch.equal(tops[0], tops[2])
    assert not torch.equal(tops[0], tops[3])
    assert not random_rectangles(0, 0, 50, 64, (0.08, 1.0), False).flips.any()


def test_the_least_area_is_kept() -> None:
    parts = random_rectangles(0, 0, 200, 96, (0.5, 0.5), False)
    areas = parts.heights * parts.widths / 96**2
    assert float((areas - 0.5).abs().max()) < 0.02

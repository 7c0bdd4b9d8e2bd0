"""A tiny data set in ImageNet's layout: JPEG files of noise around a colour for each class."""

from pathlib import Path

import numpy as np
from PIL import Image

NAME = "imagenet-subset"


def make(root: Path, classes: int = 3, train: int = 6, test: int = 2) -> Path:
    """``classes`` classes below ``root`` with the given number of images each; the data set's folder."""
    draws = np.random.default_rng(0)
    for split, count in (("train", train), ("val", test)):
        for label in range(classes):
            folder = root / NAME / split / f"n{label:08d}"
            folder.mkdir(parents=True)
            for number in range(count):
                height, width = draws.integers(40, 80, 2)
                colour = np.array([60 * label, 120, 255 - 60 * label])
                pixels = colour + draws.integers(-60, 60, (height, width, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.JPEG")
    return root / NAME

"""Data sets before and after reading."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from okdbench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

SYNTHETIC_PREFIX = "synthetic-"
FULL_PREFIX = f"{SYNTHETIC_PREFIX}full-"
"""Before a data set's name: made-up images of its size, a few or as many as it has."""

Constants = tuple[float, float, float]


@dataclass(frozen=True)
class Images:
    """All images and labels of one data set, in a fixed order.

    ``train`` uint8 [N, 3, S, S] RGB, ``train_labels`` int64 [N] in 0..classes-1; ``test`` and ``test_labels`` likewise.
    """

    train: "Tensor"
    train_labels: "Tensor"
    test: "Tensor"
    test_labels: "Tensor"

    def sha256(self) -> str:
        """Return the hash of all pixels and labels, which does not depend on how they are stored."""
        digest = hashlib.sha256()
        for part in (self.train, self.train_labels, self.test, self.test_labels):
            digest.update(f"{part.dtype} {tuple(part.shape)}\n".encode())
            digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Files:
    """The image files of one split of a data set that is too large to pack, in a fixed order.

    ``names`` [N]: paths below ``folder``, encoded for the file system; one array, because millions of Python strings
    would be copied into every process that reads. ``labels`` int64 [N] in 0..classes-1.
    """

    folder: Path
    names: NDArray[np.bytes_]
    labels: "Tensor"


@dataclass(frozen=True)
class ImageFiles:
    """The counterpart of `Images` for images that are read from their files whenever they are needed."""

    train: Files
    test: Files
    classes: int


@dataclass(frozen=True)
class Dataset:
    """A named data set and how to read it.

    ``image_size`` is the side in pixels and ``flip`` says whether a mirrored image keeps its label. ``mean`` and
    ``std`` (RGB, of pixels / 255) are the data set's own constants, used where a normalisation preset has none for it;
    ``stands_for`` names the data set that it replaces (a subset, synthetic images): a preset's constants for that one
    are used. ``origin`` says in one line where the images come from.

    ``find`` returns where the original files lie below the data folder, None when they are absent; it is itself None
    for images that need no files. ``layout`` is what it looks for. ``read`` takes what ``find`` returned (the data
    folder if there is no ``find``) and raises UsageError for incomplete or damaged files. A data set too large to
    pack has ``index`` instead, which only lists the files and likewise raises UsageError. ``fetch`` downloads into the
    data folder; None if there is nothing to download.

    ``exact``: the counts of classes and images are fixed; otherwise they are upper limits, and the files decide.
    """

    name: str
    title: str
    classes: int
    image_size: int
    train_size: int
    test_size: int
    flip: bool
    mean: Constants
    std: Constants
    origin: str
    read: Callable[[Path], Images] | None = None
    find: Callable[[Path], Path | None] | None = None
    layout: str = ""
    fetch: Callable[[Path], None] | None = None
    stands_for: str | None = None
    index: Callable[[Path], ImageFiles] | None = None
    exact: bool = True

    @property
    def streamed(self) -> bool:
        """Whether images are read from their files in every epoch, not packed and kept on the training device."""
        return self.index is not None

    def found(self, root: Path) -> Path | None:
        """Return where the original files are below the data folder ``root``, or ``root`` if none are needed."""
        return root if self.find is None else self.find(root)

    def missing(self, root: Path) -> UsageError:
        """Return the error for absent files, with the folder, the command that fetches them, and the layout."""
        command = f'run "okdbench data fetch {self.name} --data {root}" or ' if self.fetch else ""
        return UsageError(
            f"{self.name}: its images are not in {root.absolute()}; {command}put them there as {self.layout} "
            f"({self.origin})"
        )

"""Numbers of images that a data set cannot give, found without its files."""

from collections.abc import Iterator

from okdbench.config import DataSettings
from okdbench.data.base import Dataset
from okdbench.data.plan import EpochBatches


def image_problems(
    dataset: Dataset, wanted: DataSettings, batch_size: int, images_per_class: int = 0
) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the section and name of each setting that cannot be, and what it must be.

    ``images_per_class`` is the method's; see `EpochBatches`.
    """
    left = dataset.train_size - wanted.validation
    if left < 1:
        yield ("data", "validation"), f"must be below {dataset.train_size}, the images of {dataset.name}"
    elif wanted.subset and wanted.subset > left:
        yield ("data", "subset"), f"must be at most {left}, the training images of {dataset.name}"
    elif problem := EpochBatches(wanted.subset or left, batch_size, images_per_class).problem:
        yield ("training", "batch_size"), problem
    if wanted.test_subset and wanted.test_subset > dataset.test_size:
        yield ("data", "test_subset"), f"must be at most {dataset.test_size}, the test images of {dataset.name}"

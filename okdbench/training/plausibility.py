"""What the record and metrics of a run that learns say that no such run writes."""

from collections.abc import Iterator, Sequence

from okdbench import data
from okdbench.config import LearningConfig
from okdbench.errors import UsageError
from okdbench.runs.records import Epoch, HeadMetrics, LearnedRecord, State
from okdbench.training.optimizer import rate_factor
from okdbench.words import count

TOLERANCE = 1e-4
"""In images; accuracies are stored as percentages, sums of which are rounded."""


def doubts(record: LearnedRecord, epochs: Sequence[Epoch]) -> list[str]:
    """Return in one line each what cannot come from training ``record.config``, of each kind the first.

    An accuracy is a whole number of images, top-5 is no lower than top-1, the learning rates are those of the schedule,
    and every epoch has the same heads.
    """
    if record.status is State.finished and len(epochs) != record.config.epochs:
        return [f"has {count(len(epochs), 'epoch')}, and is to have {record.config.epochs}"]
    checks = (_heads(record, epochs), _rates(record.config, epochs), _counts(record.config, epochs))
    return [first for first in (next(check, None) for check in checks) if first]


def _heads(record: LearnedRecord, epochs: Sequence[Epoch]) -> Iterator[str]:
    held_out = set(record.heads) if record.config.data.validation else set()
    for epoch in epochs:
        if set(epoch.heads) != set(record.heads):
            yield f"epoch {epoch.epoch} has other heads than the record"
        if set(epoch.validation or ()) != held_out:
            yield f"epoch {epoch.epoch} has other heads on held-out images than the configuration asks for"
    if record.deployed not in record.heads:
        yield f"the deployed head {record.deployed} is none of its heads"


def _rates(config: LearningConfig, epochs: Sequence[Epoch]) -> Iterator[str]:
    for epoch in epochs:
        wanted = config.training.optimizer.lr * rate_factor(config.training, epoch.epoch)
        if abs(epoch.lr - wanted) > 1e-6 * config.training.optimizer.lr:
            yield f"epoch {epoch.epoch} has learning rate {epoch.lr:g}, where the schedule has {wanted:g}"


def _counts(config: LearningConfig, epochs: Sequence[Epoch]) -> Iterator[str]:
    try:
        dataset = data.get(config.dataset)
    except UsageError:
        return  # of a plugin that is not here
    tested = config.data.test_subset or (dataset.test_size if dataset.exact else 0)
    for epoch in epochs:
        for images, heads in ((tested, epoch.heads), (config.data.validation, epoch.validation or {})):
            for head, metrics in heads.items():
                yield from (f"epoch {epoch.epoch}, {head}: {wrong}" for wrong in _impossible(metrics, images))


def _impossible(metrics: HeadMetrics, images: int) -> Iterator[str]:
    """What is wrong with metrics on ``images`` images, 0 where their number is not known."""
    if metrics.top5 < metrics.top1 - TOLERANCE:
        yield f"top-5 accuracy {metrics.top5:g} below top-1 accuracy {metrics.top1:g}"
    for name, percent in (("top-1", metrics.top1), ("top-5", metrics.top5)):
        correct = percent * images / 100
        if abs(correct - round(correct)) > max(TOLERANCE, 1e-6 * images):
            yield f"{name} accuracy {percent!r} is not that of a whole number of {images:,} images"

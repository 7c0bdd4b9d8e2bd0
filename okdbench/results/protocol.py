"""From a run's heads and epochs to the one number that a protocol reports."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from okdbench.errors import UsageError, did_you_mean
from okdbench.recipe.schema import EpochRule
from okdbench.runs.heads import DEPLOYED, Head

Values = npt.NDArray[np.float64]
BEST_ON_TEST = "best-on-test"
"""The epoch with the best test accuracy, even where images are held out to choose it on."""
CHOSEN_EPOCHS = ("best", BEST_ON_TEST)
"""Epochs that are chosen by their accuracy."""


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Top-1 accuracy of a run in percent: ``values`` [epochs, heads], NaN where a head was not recorded."""

    heads: tuple[str, ...]
    values: Values

    def of(self, names: Iterable[str]) -> Values:
        """Return that of some heads, [epochs, names]."""
        return self.values[:, [self.heads.index(name) for name in names]]


@dataclass(frozen=True)
class HeadAndEpoch:
    """A head and an epoch that replace those of a recipe's protocol; None keeps the protocol's."""

    head: Head | None
    epoch: str | None

    @classmethod
    def of(cls, head: str | None, epoch: str | None) -> Self:
        """Return the choice as a user writes it; raise UsageError if it is not understood."""
        try:
            return cls(Head(head) if head else None, epoch and TypeAdapter(EpochRule).validate_python(epoch))
        except ValidationError as error:
            raise UsageError(f"--epoch {epoch}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
        except ValueError as error:
            raise UsageError(f"--head {error}") from None

    def __str__(self) -> str:
        return ", ".join(f"{what} {value}" for what, value in (("head", self.head), ("epoch", self.epoch)) if value)


def evaluate(accuracy: Accuracy, head: Head, epoch: str, selection: Accuracy | None = None) -> float:
    """Return the reported accuracy in percent, from ``accuracy`` on the test set.

    ``epoch`` is last, best (highest) or last-K (mean of the last K epochs, of all where there are fewer). Where
    ``selection`` (the same on a validation set) is given, max and best choose by it and the test accuracy of what they
    chose is reported; otherwise, and with best-on-test, they choose by the test accuracy itself. Raise UsageError if
    no head matches.
    """
    chooser = accuracy if selection is None or epoch == BEST_ON_TEST else selection
    tested, judged = _values(accuracy, chooser, head)
    if epoch == "last":
        return float(tested[-1])
    if epoch in CHOSEN_EPOCHS:
        return float(tested[judged.argmax()])
    return float(tested[-int(epoch.removeprefix("last-")) :].mean())


def trajectory(accuracy: Accuracy, head: Head, selection: Accuracy | None = None) -> Values:
    """Return the accuracy in percent that ``head`` has after every epoch, [epochs]; see `evaluate`."""
    return _values(accuracy, accuracy if selection is None else selection, head)[0]


def read_from(accuracy: Accuracy, head: Head, epoch: str, selection: Accuracy | None = None) -> tuple[str, str]:
    """Return the recorded heads and the epochs (from 0) from which `evaluate` takes its number, in words."""
    judge = accuracy if selection is None or epoch == BEST_ON_TEST else selection
    _, judged = _values(accuracy, judge, head)
    end = int(judged.argmax()) if epoch in CHOSEN_EPOCHS else len(judged) - 1
    start = max(len(judged) - int(epoch.removeprefix("last-")), 0) if epoch.startswith("last-") else end
    names = head.among(accuracy.heads)
    if head.chooses:
        picked = judge.of(names)[start : end + 1].argmax(axis=1)
        names = [name for i, name in enumerate(names) if i in picked]
    return ", ".join(names), str(end) if start == end else f"{start} to {end}"


def chosen(head: Head, epoch: str) -> str:
    """Return what the protocol picks by its accuracy: "head", "epoch", "head and epoch", or "" for nothing."""
    return " and ".join((["head"] if head.chooses else []) + (["epoch"] if epoch in CHOSEN_EPOCHS else []))


def describe_protocol(head: Head, epoch: str) -> str:
    """Return the protocol in words, for instance "best teacher, best epoch"."""
    when = f"mean of the last {epoch.removeprefix('last-')} epochs" if epoch.startswith("last-") else f"{epoch} epoch"
    when = "epoch best on the test images" if epoch == BEST_ON_TEST else when
    return f"{describe_head(head)}, {when}"


def describe_head(head: Head) -> str:
    """Return the head in words, for instance "mean over all peers"."""
    what = "the deployed head" if head.pattern == DEPLOYED else head.pattern
    if head.function:
        stem = what.rstrip("?*")
        beginning = f"all heads that begin with {stem}"
        several, one = (f"all {stem}s", stem) if stem.isalpha() else (beginning, f"of {beginning}")
        if "*" in stem or "?" in stem or "[" in stem:
            several, one = f"the heads {what}", f"of the heads {what}"
        what = f"best {one}" if head.chooses else f"mean over {several}"
    return f"{what} of the moving average" if head.averaged else what


def _values(accuracy: Accuracy, chooser: Accuracy, head: Head) -> tuple[Values, Values]:
    """Return, per epoch, the test accuracy of one or several heads, and the accuracy that chooses the epoch."""
    names = head.among(accuracy.heads)
    if not names:
        raise UsageError(f'the runs have no head "{head}"; {did_you_mean(head.pattern, accuracy.heads)}')
    tested = accuracy.of(names)
    judged = tested if chooser is accuracy else chooser.of(names)
    if head.chooses:
        best = judged.argmax(axis=1)[:, None]
        return np.take_along_axis(tested, best, axis=1)[:, 0], np.take_along_axis(judged, best, axis=1)[:, 0]
    return tested.mean(axis=1), judged.mean(axis=1).round(9)  # a rounding error chooses no epoch

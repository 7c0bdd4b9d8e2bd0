"""From a run's heads and epochs to the one number that a protocol reports."""

import re
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt
import pandas as pd

from okdbench.errors import UsageError, did_you_mean

Values = npt.NDArray[np.float64]
_HEAD = re.compile(r"(?P<function>mean|max)\((?P<pattern>[^()]+)\)")


def evaluate(accuracy: pd.DataFrame, head: str, epoch: str, selection: pd.DataFrame | None = None) -> float:
    """The reported accuracy in percent, from ``accuracy`` [epochs, heads] on the test set.

    ``head`` is NAME, mean(GLOB) or max(GLOB), taken over the matching heads within each epoch; ``epoch`` is last, best
    (highest) or last-K (mean of the last K epochs, of all where there are fewer). Where ``selection`` (the same on a
    validation set) is given, max and best choose by it and the test accuracy of what they chose is reported; otherwise
    they choose by the test accuracy itself. UsageError where no head matches.
    """
    chooser = accuracy if selection is None else selection
    tested, judged = _head(accuracy, chooser, head)
    if epoch == "last":
        return float(tested[-1])
    if epoch == "best":
        return float(tested[judged.argmax()])
    return float(tested[-int(epoch.removeprefix("last-")) :].mean())


def trajectory(accuracy: pd.DataFrame, head: str, selection: pd.DataFrame | None = None) -> Values:
    """The accuracy in percent that ``head`` has after every epoch, [epochs]; see `evaluate`."""
    return _head(accuracy, accuracy if selection is None else selection, head)[0]


def chosen(head: str, epoch: str) -> str:
    """What the protocol picks by its accuracy: "head", "epoch", "head and epoch", or "" for nothing."""
    picked = (["head"] if head.startswith("max(") else []) + (["epoch"] if epoch == "best" else [])
    return " and ".join(picked)


def describe(head: str, epoch: str) -> str:
    """The protocol in words, for instance "best teacher, best epoch"."""
    match = _HEAD.fullmatch(head)
    name, _, average = (match["pattern"] if match else head).partition("@")
    what = "the deployed head" if name == "deployed" else name
    if match:
        stem = what.rstrip("?*")
        several, one = (f"all {stem}s", stem) if stem.isalpha() else (what, f"of {what}")
        what = f"mean over {several}" if match["function"] == "mean" else f"best {one}"
    if average:
        what += " of the moving average"
    when = f"mean of the last {epoch.removeprefix('last-')} epochs" if epoch.startswith("last-") else f"{epoch} epoch"
    return f"{what}, {when}"


def average_of(head: str) -> str:
    """The end of the head that says that a moving average is read: ``@ema``, or "" where none is."""
    _, at, average = head.rstrip(")").partition("@")
    return at + average


def _head(accuracy: pd.DataFrame, chooser: pd.DataFrame, head: str) -> tuple[Values, Values]:
    """Per epoch the test accuracy of a head or of a function of several, and the accuracy to choose the epoch by."""
    match = _HEAD.fullmatch(head)
    pattern = match["pattern"] if match else head
    names = [name for name in accuracy.columns if (fnmatchcase(name, pattern) if match else name == head)]
    if not names:
        raise UsageError(f'the runs have no head "{head}"; {did_you_mean(pattern, accuracy.columns)}')
    tested, judged = accuracy[names].to_numpy(), chooser[names].to_numpy()
    if match and match["function"] == "max":
        best = judged.argmax(axis=1)[:, None]
        return np.take_along_axis(tested, best, axis=1)[:, 0], np.take_along_axis(judged, best, axis=1)[:, 0]
    return tested.mean(axis=1), judged.mean(axis=1)

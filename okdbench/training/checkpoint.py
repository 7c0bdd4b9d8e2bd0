"""Checkpoints: a kill at any moment leaves the last or the previous one intact, and loading one executes no code."""

import pickle
from typing import Any

import torch

from okdbench.files import atomic_write
from okdbench.runs.folder import RunFolder

KEPT_CHECKPOINTS = 2
INTERVAL = 60.0
"""Seconds of training after which the next end of an epoch writes a checkpoint."""


def save_checkpoint(folder: RunFolder, number: int, state: dict[str, Any]) -> None:
    """Write checkpoint ``number`` (a count of steps, so later ones sort last) and drop all but the last two."""
    with atomic_write(folder.checkpoint(number), "wb") as file:
        torch.save(state, file)
    for old in folder.checkpoints[:-KEPT_CHECKPOINTS]:
        old.unlink()


def newest(folder: RunFolder) -> dict[str, Any] | None:
    """Return the newest readable checkpoint, on the CPU, or None if there is none to continue from."""
    for path in reversed(folder.checkpoints):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            continue
        return state
    return None

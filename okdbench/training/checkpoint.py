"""Checkpoints: a kill at any moment leaves the last or the one before, and reading one runs no code."""

import pickle
from pathlib import Path
from typing import Any

import torch

from okdbench.files import atomic_write
from okdbench.runs.folder import CHECKPOINTS

KEPT = 2


def save(folder: Path, number: int, state: dict[str, Any]) -> None:
    """Write checkpoint ``number`` (a count of steps, so later ones sort last) and drop all but the last two."""
    with atomic_write(folder / CHECKPOINTS.replace("*", f"{number:09d}"), "wb") as file:
        torch.save(state, file)
    for old in saved(folder)[:-KEPT]:
        old.unlink()


def saved(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(folder.glob(CHECKPOINTS))


def newest(folder: Path) -> dict[str, Any] | None:
    """The newest readable checkpoint, on the CPU, or None where there is none to continue from."""
    for path in reversed(saved(folder)):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            continue
        return state
    return None


def clear(folder: Path) -> None:
    """Remove all checkpoints (the run is done)."""
    for path in saved(folder):
        path.unlink()

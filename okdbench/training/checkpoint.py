"""Checkpoints: a kill at any moment leaves the last or the previous one intact, and loading one executes no code.

Of a damaged one nothing is used: the one before it is, or training starts again.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from okdbench.files import atomic_write
from okdbench.runs.folder import RunFolder
from okdbench.runs.records import Epoch
from okdbench.runs.weights import require_intact
from okdbench.words import count

KEPT_CHECKPOINTS = 2
INTERVAL = 60.0
"""Seconds of training after which the next end of an epoch writes a checkpoint."""
_CONTENT: dict[str, type | tuple[type, ...]] = {
    "epoch": int,
    "batch": int,
    "seconds": (int, float),
    "processes": int,
    "step": dict,
}


def save_checkpoint(folder: RunFolder, number: int, state: dict[str, Any]) -> None:
    """Write checkpoint ``number`` (a count of steps, so later ones sort last) and drop all but the last two."""
    write_tensors(state, folder.checkpoint(number))
    for old in folder.checkpoints[:-KEPT_CHECKPOINTS]:
        old.unlink()


def write_tensors(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values to a file, whole or not at all."""
    buffer = io.BytesIO()  # torch reports a full disk in words of its own
    torch.save(state, buffer)
    with atomic_write(path, "wb") as file:
        file.write(buffer.getbuffer())


def readable(folder: RunFolder, run: str) -> Iterator[dict[str, Any]]:
    """The checkpoints of the run with this identity, newest first and on the CPU; a line is printed for any other.

    ``epochs`` are the epochs before the checkpoint.
    """
    for path in reversed(folder.checkpoints):
        try:
            state = _read(path, run)
            state["epochs"] = _epochs(state, folder)
        except Exception as error:  # whatever damaged files make torch and pickle raise
            why = " ".join(str(error).split()) or type(error).__name__
            print(f"{path.name}: damaged, not used ({why:.200})", flush=True)
        else:
            yield state


def _read(path: Path, run: str) -> dict[str, Any]:
    require_intact(path)
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not all(isinstance(state.get(key), kind) for key, kind in _CONTENT.items()):
        raise ValueError("not a checkpoint")
    if (of := state.get("run", run)) != run:  # versions up to 0.1 did not store it
        raise ValueError(f"of run {of}")
    return state


def _epochs(state: dict[str, Any], folder: RunFolder) -> list[Epoch]:
    """Return what the checkpoint says of the epochs before it; of one that does not, what the folder says."""
    if "metrics" in state:
        found = [Epoch.model_validate_json(line) for line in state["metrics"].splitlines()]
    else:
        found = list(folder.epochs[: state["epoch"]])
    if len(found) != state["epoch"]:
        raise ValueError(f"metrics of {count(len(found), 'epoch')}, but it is of epoch {state['epoch']}")
    return found

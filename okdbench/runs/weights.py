"""The final weights of a run: whether the file holds what the record says. Torch is loaded only when asked for."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from okdbench.errors import UsageError
from okdbench.runs.folder import RunFolder

if TYPE_CHECKING:
    from torch import Tensor

RETRAINED = "give the same command again, which trains that run again"
"""The remedy for a teacher, which `run` trains again where its weights are not whole."""


def require_intact(path: Path) -> None:
    """Compare every part of a file that torch has saved with its checksum, which torch stores but does not check.

    Raise ValueError, OSError or what `zipfile` raises for a damaged file.
    """
    with zipfile.ZipFile(path) as archive:
        if bad := archive.testzip():
            raise ValueError(f"wrong checksum of {bad}")


def fingerprint(state: Mapping[str, "Tensor"]) -> str:
    """Hash of a module's state: two runs with the same one ended in the same weights, bit for bit."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def final_weights(folder: RunFolder, remedy: str = RETRAINED) -> "dict[str, Tensor]":
    """Return the final weights of a finished run, on the CPU.

    Raise UsageError, which ends with the remedy, if they are not there or not those of its record.
    """
    import torch

    try:
        require_intact(folder.weights)
        state: dict[str, Tensor] = torch.load(folder.weights, map_location="cpu", weights_only=True)
        found = fingerprint(state)
    except FileNotFoundError:
        raise UsageError(f"{folder.weights}: no such file; {remedy}") from None
    except Exception as error:  # whatever damaged files make torch and pickle raise
        why = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{folder.weights}: damaged ({why:.200}); {remedy}") from None
    record = folder.learned
    if record and record.weights_sha256 not in (None, found):
        raise UsageError(f"{folder.weights}: not the weights whose hash {folder.path.name}'s record holds; {remedy}")
    return state


def has_final_weights(folder: RunFolder) -> bool:
    """Return whether the weights of a done run are there and, where its record has their hash, are those."""
    if not folder.weights.exists():
        return False
    try:
        record = folder.learned
        if record and record.weights_sha256:
            final_weights(folder)
    except UsageError:
        return False
    return True

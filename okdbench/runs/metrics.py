"""The lines of ``metrics.jsonl``, one for each epoch."""

import json
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from pydantic import ValidationError

from okdbench.runs.records import Epoch


def line(epoch: Epoch) -> str:
    """Return an epoch as a line."""
    return json.dumps(epoch.model_dump(exclude_none=True)) + "\n"


def read(path: Path) -> list[Epoch]:
    """Return the epochs in a file, in order; ValueError for damage.

    The last line may be torn (the run was killed while it wrote) and is then left out.
    """
    lines = path.read_bytes().splitlines()
    epochs: list[Epoch] = []
    for number, content in enumerate(lines):
        epoch = _epoch(content)
        if epoch and epoch.epoch == number:
            epochs.append(epoch)
        elif number + 1 < len(lines) or _is_json(content):
            raise ValueError(f"line {number + 1} is not the metrics of epoch {number}")
    return epochs


def first_unusual(path: Path, epochs: Sequence[Epoch]) -> int | None:
    """Return the number, from 1, of the first line that is not as `line` writes its epoch; None if there is none."""
    lines = path.read_bytes().splitlines(keepends=True)
    both = zip_longest(lines, (line(epoch).encode() for epoch in epochs))
    return next((number for number, (there, written) in enumerate(both, start=1) if there != written), None)


def _epoch(content: bytes) -> Epoch | None:
    """Return the epoch in a line, None if the line does not describe one."""
    try:
        return Epoch.model_validate_json(content)
    except ValidationError:
        return None


def _is_json(content: bytes) -> bool:
    """Return whether the line is a whole JSON object: then it was not torn and is wrong in another way."""
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False

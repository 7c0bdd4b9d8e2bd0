"""What a run has found, wherever and however fast it was computed: what two copies of it must have in common."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from okdbench.runs.records import DoneRecord, Epoch

MEASURED: set[str] = {
    "environment",
    "images_per_second",
    "metrics_sha256",  # covers the times of the epochs
    "peak_memory_bytes",
    "seconds",
    "wall_seconds",
}
"""What records and metrics say of the machine and its speed: other values do not make another result."""
_WEIGHTS = "weights_sha256"


@dataclass(frozen=True)
class Outcome:
    """The record without `MEASURED`, the hash of all epochs' numbers, and that of the weights where it was kept."""

    record: dict[str, Any]
    numbers: str
    weights: str | None

    @classmethod
    def of(cls, record: DoneRecord, epochs: Sequence[Epoch]) -> Self:
        """Return the outcome of a run that is done."""
        numbers = json.dumps([epoch.model_dump(exclude=MEASURED) for epoch in epochs], sort_keys=True)
        weights = getattr(record, _WEIGHTS, None)
        kept = record.model_dump(exclude={*MEASURED, _WEIGHTS})
        return cls(kept, hashlib.sha256(numbers.encode()).hexdigest(), weights)

    def agrees(self, other: Self) -> bool:
        """Return whether both are the same result; of weights whose hash one did not keep nothing is known."""
        weights = self.weights is None or other.weights is None or self.weights == other.weights
        return weights and (self.record, self.numbers) == (other.record, other.numbers)

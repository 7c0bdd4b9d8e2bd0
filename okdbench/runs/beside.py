"""Runs beside one another: the same run has the same result, and another one has not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from okdbench.runs.folder import METRICS, RunFolder
from okdbench.runs.outcome import Outcome
from okdbench.runs.records import DoneRecord, Epoch, LearnedRecord, State


@dataclass(frozen=True)
class Done:
    """A run that is done, with what can be compared: ``metrics`` is the hash of their file, None without any epoch."""

    folder: RunFolder
    record: DoneRecord
    epochs: Sequence[Epoch]
    outcome: Outcome
    metrics: str | None

    @classmethod
    def read(cls, folder: RunFolder) -> Self | None:
        """Return the run of a folder, None where it is not done; raise UsageError for a damaged one."""
        if not (record := folder.record):
            return None
        epochs = folder.epochs
        return cls(folder, record, epochs, Outcome.of(record, epochs), folder.metrics_sha256 if epochs else None)


class Beside:
    """Compares each run with those seen before; all of it in one line each."""

    def __init__(self) -> None:
        self._runs: dict[str, Done] = {}
        self._metrics: dict[str, RunFolder] = {}
        self._weights: dict[str, tuple[RunFolder, int]] = {}
        self._epochs: dict[int, tuple[RunFolder, int]] = {}
        """By the hash of what one head reached after one epoch."""
        self._alike: dict[str, RunFolder] = {}
        self._images: dict[str, tuple[RunFolder, str]] = {}

    def differs(self, run: Done) -> Iterator[str]:
        """Yield that the same run has another result elsewhere."""
        first = self._runs.setdefault(run.record.id, run)
        if not run.outcome.agrees(first.outcome):
            yield f"has another result than {first.folder}, and is the same run"

    def copied(self, run: Done) -> Iterator[str]:
        """Yield what a run has in common with another one, or with one of another seed, that only a copy has.

        One epoch of one head is enough: after the same epoch of other images, or from other initial weights, no two
        networks agree in every digit.
        """
        if (
            run.metrics
            and (first := self._metrics.setdefault(run.metrics, run.folder)).path.name != run.folder.path.name
        ):
            yield f"{METRICS} is that of {first}, another run"
        elif isinstance(run.record, LearnedRecord):
            yield from self._of_another_seed(run, run.record)

    def _of_another_seed(self, run: Done, record: LearnedRecord) -> Iterator[str]:
        """What only a copy has: with other settings, such as what is averaged, numbers can be the same."""
        folder, weights = run.folder, run.outcome.weights
        seed, found = record.config.seed, None
        for epoch in run.epochs:
            for head in epoch.heads.values():
                if not head.max_logit:  # of a network that has died, whatever its seed
                    continue
                numbers = hash((head.top1, head.top5, head.ce, head.max_logit))
                first, its_seed = self._epochs.setdefault(numbers, (folder, seed))
                if its_seed != seed and not found:
                    found = f"has numbers of {first}, a run of another seed (epoch {epoch.epoch})"
        # Weights that are not finite can be the same whatever the seed.
        if record.status is State.finished and weights:
            first, its_seed = self._weights.setdefault(weights, (folder, seed))
            if its_seed != seed:
                found = found or f"has the weights of {first}, a run of another seed"
        if found:
            yield found

    def remarks(self, run: Done) -> Iterator[str]:
        """Yield what can be right and is rare: all numbers of another run, or other images of the same data set."""
        folder, record = run.folder, run.record
        if not isinstance(record, LearnedRecord):
            return
        # Where what tells two runs apart has no effect, they have the same numbers.
        first = self._alike.setdefault(run.outcome.numbers, folder) if record.epochs else folder
        if first.path.name != folder.path.name:
            yield f"has all the numbers of {first}: what tells the two apart has had no effect"
        dataset, images = record.config.dataset, record.environment.get("images_sha256")
        if images:
            first, others = self._images.setdefault(dataset, (folder, images))
            if images != others:
                yield f"its images of {dataset} are not those of {first}"

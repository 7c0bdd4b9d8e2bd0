"""Every head's accuracy, cross-entropy and calibration on the test images, as means over samples."""

import math
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributed import ReduceOp
from torch.nn.functional import cross_entropy

from okdbench.methods import Method
from okdbench.runs.interleave import Turns, drain
from okdbench.runs.records import Cause, HeadMetrics
from okdbench.training.backends import Changes, Runner
from okdbench.training.distributed import ALONE, Processes
from okdbench.training.images import PendingBatch

BINS = 15


class Divergence(NamedTuple):
    """The reason why a run no longer has a usable network."""

    cause: Cause
    reason: str


class Meter:
    """Sums of several heads on the device, read back once."""

    def __init__(self, heads: int, device: torch.device) -> None:
        self._sums = torch.zeros(4, heads, dtype=torch.float64, device=device)
        self._bins = torch.zeros(3, heads, BINS, dtype=torch.float64, device=device)
        self._max = torch.zeros(heads, dtype=torch.float64, device=device)
        self.sums = (self._sums, self._bins, self._max)

    def reset(self) -> None:
        """Set all sums to zero."""
        for sums in self.sums:
            sums.zero_()

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count one batch: logits [H, B, C], labels [B]."""
        logits = logits.double()
        ranked = logits.topk(min(5, logits.shape[2]), dim=2).indices == labels[:, None]
        correct = ranked[:, :, 0].double()
        confidence = logits.softmax(dim=2).amax(dim=2).nan_to_num(0.0)
        place = (confidence * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
        one = torch.ones_like(correct)
        losses = cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)), reduction="none").view_as(one)
        self._sums += torch.stack([one, correct, ranked.sum(dim=2).double(), losses]).sum(dim=2)
        # Not `index_add_`, whose sums depend on the order of a GPU's threads, nor `one_hot`, which reads back.
        within = place[:, :, None] == torch.arange(BINS, device=place.device)
        self._bins += (torch.stack([one, confidence, correct])[:, :, :, None] * within).sum(dim=2)
        self._max.copy_(torch.maximum(self._max, logits.abs().amax(dim=(1, 2))))

    def combine(self, processes: Processes) -> None:
        """Add the sums of the other processes, each over its own share of the images."""
        for sums in (self._sums, self._bins):
            processes.combine(sums)
        processes.combine(self._max, ReduceOp.MAX)

    def read(self) -> list[HeadMetrics]:
        """Return each head's metrics; calibration error over 15 equal bins of confidence (Guo et al. 2017, eq. 5)."""
        _, confidence, correct = self._bins
        gaps = (confidence - correct).abs().sum(dim=1)
        return [
            HeadMetrics.model_construct(  # not validated: what is not finite ends the run as diverged
                top1=100 * (top1 / count),
                top5=100 * (top5 / count),
                ce=ce / count,
                ece=100 * (gap / count),
                max_logit=largest,
            )
            for count, top1, top5, ce, gap, largest in torch.stack([*self._sums, gaps, self._max], dim=1).tolist()
        ]


class Evaluation:
    """Metrics of every head of a method, whose sums stay in the same tensors from one evaluation to the next."""

    def __init__(self, method: Method, run: Runner, processes: Processes = ALONE) -> None:
        self._method, self._run, self._processes = method, run, processes
        device = next(method.parameters()).device
        self._heads = method.heads()
        self._meter = Meter(len(self._heads), device)

    def __call__(self, name: str, batches: Iterable[PendingBatch]) -> dict[str, HeadMetrics]:
        """Return the metrics over the images called ``name``, computed in eval mode; the method trains afterwards.

        They count the images of all processes; a process may have none.
        """
        return drain(self.turns(name, batches))

    @torch.no_grad()
    def turns(self, name: str, batches: Iterable[PendingBatch]) -> Turns[dict[str, HeadMetrics]]:
        """Do that, yielding after every batch."""
        self._method.eval()
        self._meter.reset()
        for pending in batches:
            self._run((self, name, pending.size), partial(self._count, pending), self._changes)
            yield
        self._method.train()
        self._meter.combine(self._processes)
        return dict(zip(self._heads, self._meter.read(), strict=True))

    def _changes(self) -> Changes:
        return {"metrics": self._meter.sums}

    def _count(self, pending: PendingBatch) -> None:
        batch = pending.batch()
        logits = self._method.predict(batch.views[0])
        self._meter.add(torch.stack([logits[head] for head in self._heads]), batch.labels)


NO_LOGITS = 1e-3
"""Logits below this are none."""


def collapsed(history: list[HeadMetrics], classes: int) -> Divergence | None:
    """Return whether a run has collapsed: logits below 1e-3 and chance accuracy for 5 epochs in a row.

    The state that the DKEL paper's Figure 2 shows; ``history`` is the deployed head's, epoch by epoch.
    """
    recent = history[-5:]
    if len(recent) == 5 and all(m.max_logit < NO_LOGITS and abs(m.top1 - 100 / classes) < 0.5 for m in recent):
        return Divergence(Cause.collapsed, "collapsed: logits below 1e-3 at chance accuracy for 5 epochs")
    return None


def not_finite(what: str, values: dict[str, float]) -> str | None:
    """Return which values of ``what`` are not finite, or None."""
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    return f"{what} not finite ({', '.join(bad)})" if bad else None

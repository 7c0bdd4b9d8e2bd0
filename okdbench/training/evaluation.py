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
    """Sums on the device, read back once."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(4, dtype=torch.float64, device=device)
        self._bins = torch.zeros(3, BINS, dtype=torch.float64, device=device)
        self._max = torch.zeros((), dtype=torch.float64, device=device)
        self.sums = (self._sums, self._bins, self._max)

    def reset(self) -> None:
        """Set all sums to zero."""
        for sums in self.sums:
            sums.zero_()

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count one batch: logits [B, C], labels [B]."""
        logits = logits.double()
        ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        correct = ranked[:, 0].double()
        confidence = logits.softmax(dim=1).amax(dim=1).nan_to_num(0.0)
        place = (confidence * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
        one = torch.ones_like(correct)
        self._sums += torch.stack(
            [one.sum(), correct.sum(), ranked.sum().double(), cross_entropy(logits, labels, reduction="sum")]
        )
        # Not `index_add_`, whose sums depend on the order of a GPU's threads, nor `one_hot`, which reads back.
        within = place[:, None] == torch.arange(BINS, device=place.device)
        self._bins += (torch.stack([one, confidence, correct])[:, :, None] * within).sum(dim=1)
        self._max.copy_(torch.maximum(self._max, logits.abs().amax()))

    def combine(self, processes: Processes) -> None:
        """Add the sums of the other processes, each over its own share of the images."""
        for sums in (self._sums, self._bins):
            processes.combine(sums)
        processes.combine(self._max, ReduceOp.MAX)

    def read(self) -> HeadMetrics:
        """Return the metrics; calibration error over 15 equal bins of confidence (Guo et al. 2017, equation 5)."""
        count, *sums = self._sums.tolist()
        top1, top5, ce = (total / count for total in sums)
        _, confidence, correct = self._bins
        ece = float((confidence - correct).abs().sum()) / count
        return HeadMetrics(top1=100 * top1, top5=100 * top5, ce=ce, ece=100 * ece, max_logit=float(self._max))


class Evaluation:
    """Metrics of every head of a method, whose sums stay in the same tensors from one evaluation to the next."""

    def __init__(self, method: Method, run: Runner, processes: Processes = ALONE) -> None:
        self._method, self._run, self._processes = method, run, processes
        device = next(method.parameters()).device
        self._meters = {head: Meter(device) for head in method.heads()}

    @torch.no_grad()
    def __call__(self, name: str, batches: Iterable[PendingBatch]) -> dict[str, HeadMetrics]:
        """Return the metrics over the images called ``name``, computed in eval mode; the method trains afterwards.

        They count the images of all processes; a process may have none.
        """
        self._method.eval()
        for meter in self._meters.values():
            meter.reset()
        for pending in batches:
            self._run((self, name, pending.size), partial(self._count, pending), self._changes)
        self._method.train()
        for meter in self._meters.values():
            meter.combine(self._processes)
        return {head: meter.read() for head, meter in self._meters.items()}

    def _changes(self) -> Changes:
        return {"metrics": [sums for meter in self._meters.values() for sums in meter.sums]}

    def _count(self, pending: PendingBatch) -> None:
        batch = pending.batch()
        for head, logits in self._method.predict(batch.views[0]).items():
            self._meters[head].add(logits, batch.labels)


def collapsed(history: list[HeadMetrics], classes: int) -> Divergence | None:
    """Return whether a run has collapsed: logits below 1e-3 and chance accuracy for 5 epochs in a row.

    The state that the DKEL paper's Figure 2 shows; ``history`` is the deployed head's, epoch by epoch.
    """
    recent = history[-5:]
    if len(recent) == 5 and all(m.max_logit < 1e-3 and abs(m.top1 - 100 / classes) < 0.5 for m in recent):
        return Divergence(Cause.collapsed, "collapsed: logits below 1e-3 at chance accuracy for 5 epochs")
    return None


def not_finite(what: str, values: dict[str, float]) -> str | None:
    """Return which values of ``what`` are not finite, or None."""
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    return f"{what} not finite ({', '.join(bad)})" if bad else None

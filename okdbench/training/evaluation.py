"""Every head's accuracy, cross-entropy and calibration on the test images, as means over samples."""

import math
from collections.abc import Iterable
from typing import TypedDict

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from okdbench.methods import Method

BINS = 15


class HeadMetrics(TypedDict):
    """One head after one epoch; accuracies and calibration error in percent."""

    top1: float
    top5: float
    ce: float
    ece: float
    max_logit: float


class Meter:
    """Sums on the device, read back once."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)
        self._bins = torch.zeros(3, BINS, dtype=torch.float64, device=device)
        self._max = torch.zeros((), dtype=torch.float64, device=device)
        self._count = 0

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count one batch: logits [B, C], labels [B]."""
        logits = logits.double()
        ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        correct = ranked[:, 0].double()
        confidence = logits.softmax(dim=1).amax(dim=1).nan_to_num(0.0)
        place = (confidence * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
        self._sums += torch.stack(
            [correct.sum(), ranked.sum().double(), cross_entropy(logits, labels, reduction="sum")]
        )
        self._bins.index_add_(1, place, torch.stack([torch.ones_like(correct), confidence, correct]))
        self._max = torch.maximum(self._max, logits.abs().amax())
        self._count += len(labels)

    def read(self) -> HeadMetrics:
        """The metrics; expected calibration error over 15 equal bins of confidence (Guo et al. 2017, equation 5)."""
        top1, top5, ce = (self._sums / self._count).tolist()
        _, confidence, correct = self._bins
        ece = float((confidence - correct).abs().sum()) / self._count
        return HeadMetrics(top1=100 * top1, top5=100 * top5, ce=ce, ece=100 * ece, max_logit=float(self._max))


@torch.no_grad()
def evaluate(method: Method, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, HeadMetrics]:
    """Metrics of every head over (images, labels) batches, in eval mode; the method's mode is put back."""
    method.eval()
    meters: dict[str, Meter] = {}
    for images, labels in batches:
        for head, logits in method.predict(images).items():
            meters.setdefault(head, Meter(labels.device)).add(logits, labels)
    method.train()
    return {head: meter.read() for head, meter in meters.items()}


def collapsed(history: list[HeadMetrics], classes: int) -> str | None:
    """Why a run counts as collapsed, or None: logits below 1e-3 and chance accuracy for 5 epochs in a row.

    The state that the DKEL paper's Figure 2 shows; ``history`` is the deployed head's, epoch by epoch.
    """
    recent = history[-5:]
    if len(recent) == 5 and all(m["max_logit"] < 1e-3 and abs(m["top1"] - 100 / classes) < 0.5 for m in recent):
        return "collapsed: logits below 1e-3 at chance accuracy for 5 epochs"
    return None


def not_finite(losses: dict[str, float]) -> str | None:
    """Which loss terms are not finite, or None."""
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    return f"loss not finite ({', '.join(bad)})" if bad else None

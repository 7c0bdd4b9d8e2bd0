"""Vanilla training: one network, cross-entropy, no distillation."""

from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from okdbench.methods.base import Batch, Build, Method, Progress
from okdbench.networks import Single


class Baseline(Method):
    """One network trained with cross-entropy on one view; every paper's reference row."""

    name = "baseline"
    title = "Baseline"
    paper = "cross-entropy training, no distillation"
    year = 2015

    def __init__(self, build: Build, config: Any) -> None:
        super().__init__(build, config)
        self.student = Single(build(0))

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """CE(z, y)."""
        return {"ce": cross_entropy(self.student(batch.views[0]), batch.labels)}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """The network's logits."""
        return {"student": self.student(images)}

"""Vanilla training: one network, cross-entropy, no distillation."""

import torch
from pydantic import Field
from torch import Tensor

from okdbench.config import Few
from okdbench.methods.base import Batch, Build, Method, MethodConfig, Progress
from okdbench.methods.parts.losses import cross_entropies
from okdbench.networks import Single


class BaselineConfig(MethodConfig):
    """Settings of the baseline; ``views`` shows what augmentation alone gives (for averaging: ``training.ema``)."""

    views: Few = Field(default=1, ge=1, description="augmented views of each batch, over which the loss is averaged")


class Baseline(Method[BaselineConfig]):
    """One network trained with cross-entropy; every paper's reference row."""

    name = "baseline"
    title = "Baseline"
    paper = "cross-entropy training, no distillation"
    year = 2015

    def __init__(self, build: Build, config: BaselineConfig) -> None:
        super().__init__(build, config)
        self.views = config.views
        self.student = Single(build(0))

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Mean over the views of CE(z, y); each view has its own forward pass, as for peers with different views."""
        logits = torch.stack([self.student(view) for view in batch.views])
        return {"ce": cross_entropies(logits, batch.labels).mean()}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the network's logits."""
        return {"student": self.student(images)}

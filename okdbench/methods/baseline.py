"""Vanilla training: one network, cross-entropy, no distillation."""

import torch
from pydantic import Field
from torch import Tensor

from okdbench.methods.base import Batch, Build, Method, Progress
from okdbench.methods.ema import EMA, AveragedConfig, frozen_copy
from okdbench.methods.losses import cross_entropies
from okdbench.networks import Single


class BaselineConfig(AveragedConfig):
    """Controls: what more augmentation (``views``) and weight averaging (``ema``) give without distillation."""

    views: int = Field(default=1, ge=1, description="augmented views of each batch, over which the loss is averaged")


class Baseline(Method):
    """One network trained with cross-entropy; every paper's reference row.

    With ``ema`` the moving average of its weights is the head ``teacher``, and what one would deploy.
    """

    name = "baseline"
    title = "Baseline"
    paper = "cross-entropy training, no distillation"
    year = 2015
    Config = BaselineConfig
    config: BaselineConfig

    def __init__(self, build: Build, config: BaselineConfig) -> None:
        super().__init__(build, config)
        self.views = config.views
        self.student = Single(build(0))
        self.teacher: Single | None = None
        if config.ema:
            self.teacher = frozen_copy(self.student)
            self.deployed = "teacher"
            self._ema = EMA(self.teacher, self.student, config.ema_decay, warmup=config.ema_warmup)

    def heads(self) -> tuple[str, ...]:
        """The network, and with ``ema`` its moving average."""
        return ("student", "teacher") if self.teacher else ("student",)

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Mean over the views of CE(z, y); each view passes by itself, as in methods that give each peer its view."""
        logits = torch.stack([self.student(view) for view in batch.views])
        if self.teacher:
            with torch.no_grad():  # BN statistics of its own, as the teachers of PCL and DKEL have them
                for view in batch.views:
                    self.teacher(view)
        return {"ce": cross_entropies(logits, batch.labels).mean()}

    def after_step(self, progress: Progress) -> None:
        """Move the average towards the student."""
        if self.teacher:
            self._ema.update(progress.step)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """The network's logits, and its average's."""
        networks = (self.student, self.teacher) if self.teacher else (self.student,)
        return dict(zip(self.heads(), (network(images) for network in networks), strict=True))

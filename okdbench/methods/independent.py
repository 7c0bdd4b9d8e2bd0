"""Branches without distillation: what sharing a trunk and averaging predictions give by themselves."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from okdbench.methods.base import Batch, Build, Method, Progress
from okdbench.methods.ema import EMA, AveragedConfig, frozen_copy
from okdbench.methods.losses import cross_entropies
from okdbench.networks import Branched


class IndependentConfig(AveragedConfig):
    """Settings of the control; the defaults are "Ind" of OKDDip's Table 4."""

    peers: int = Field(default=4, ge=1, description="branches")
    views: Literal["shared", "different"] = Field(
        default="shared", description="one augmented view for all branches, or one each"
    )


class Independent(Method):
    """Branches on a shared trunk, each with its own cross-entropy; the trunk receives the sum of their gradients.

    The branches' classifiers start independently, as in the OKDDip code. With ``ema`` the moving averages of the
    weights are the heads ``teacher0``.., and what one would deploy, and ``teacher_ensemble``.
    """

    name = "independent"
    title = "Ind"
    paper = "branches without distillation, as in OKDDip, Chen et al., AAAI 2020, Table 4"
    year = 2020
    deployed = "peer0"
    Config = IndependentConfig
    config: IndependentConfig

    def __init__(self, build: Build, config: IndependentConfig) -> None:
        super().__init__(build, config)
        self.views = config.peers if config.views == "different" else 1
        self.student = Branched([build(index) for index in range(config.peers)], "independent")
        self.teacher: Branched | None = None
        if config.ema:
            self.teacher = frozen_copy(self.student)
            self.deployed = "teacher0"
            self._ema = EMA(self.teacher, self.student, config.ema_decay, warmup=config.ema_warmup)

    def heads(self) -> tuple[str, ...]:
        """Every branch and the mean of their logits; with ``ema`` the same of the moving average."""
        peers = range(self.config.peers)
        students = (*(f"peer{i}" for i in peers), "ensemble")
        return (*students, *(f"teacher{i}" for i in peers), "teacher_ensemble") if self.teacher else students

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """sum_i CE(z_i, y)."""
        logits = torch.stack([trace.logits for trace in self.student(batch.views)])
        if self.teacher:
            with torch.no_grad():  # BN statistics of its own, as the teachers of PCL and DKEL have them
                self.teacher(batch.views)
        return {"ce": cross_entropies(logits, batch.labels).sum()}

    def after_step(self, progress: Progress) -> None:
        """Move the average towards the branches."""
        if self.teacher:
            self._ema.update(progress.step)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Logits of all heads; the trunk runs once for each network."""
        outputs: list[Tensor] = []
        for network in (self.student, self.teacher) if self.teacher else (self.student,):
            logits = torch.stack([trace.logits for trace in network([images])])
            outputs += [*logits, logits.mean(dim=0)]
        return dict(zip(self.heads(), outputs, strict=True))

"""Branches without distillation: what sharing a trunk and averaging predictions give by themselves."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from okdbench.config import Few
from okdbench.methods.base import Batch, Build, Method, MethodConfig, Progress
from okdbench.methods.parts.losses import cross_entropies
from okdbench.methods.parts.peers import peer_heads, stack_logits
from okdbench.networks import Branched


class IndependentConfig(MethodConfig):
    """Settings of the control; the defaults are "Ind" of OKDDip's Table 4."""

    peers: Few = Field(default=4, ge=1, description="branches")
    views: Literal["shared", "different"] = Field(
        default="shared", description="one augmented view for all branches, or one each"
    )


class Independent(Method[IndependentConfig]):
    """Branches on a shared trunk, each with its own cross-entropy; the trunk receives the sum of their gradients.

    The branches' classifiers start independently, as in the OKDDip code.
    """

    name = "independent"
    title = "Ind"
    paper = "branches without distillation, as in OKDDip, Chen et al., AAAI 2020, Table 4"
    year = 2020
    deployed = "peer0"

    def __init__(self, build: Build, config: IndependentConfig) -> None:
        super().__init__(build, config)
        self.views = config.peers if config.views == "different" else 1
        self.student = Branched(build.several(config.peers), "independent")

    def heads(self) -> tuple[str, ...]:
        """Return every branch and the mean of their logits."""
        return (*peer_heads(self.config.peers), "ensemble")

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """sum_i CE(z_i, y)."""
        logits = stack_logits(self.student(batch.views))
        return {"ce": cross_entropies(logits, batch.labels).sum()}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of all heads; the trunk runs once."""
        logits = stack_logits(self.student([images]))
        return self.named([*logits, logits.mean(dim=0)])

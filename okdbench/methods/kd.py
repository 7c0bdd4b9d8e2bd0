"""KD: offline distillation from a trained teacher (Hinton et al. 2015, arXiv 1503.02531)."""

from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from okdbench.methods.base import Batch, Build, Method, MethodConfig, Progress
from okdbench.methods.parts.losses import distillation
from okdbench.networks import Single


class KDConfig(MethodConfig):
    """Hyper-parameters of KD.

    ``paper`` is Hinton's convex form at the weight that the OKD papers' reading gives it, (1 - a) CE + a KD_T;
    ``released`` is the OKDDip harness, which the OKD papers compare with: CE + KD_3, no ramp-up.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "released": {"form": "additive", "weight": 1.0, "epsilon": 1e-7},
    }
    temperature: float = Field(default=3.0, gt=0)
    squared: bool = Field(default=True, description="multiply the KL by T^2")
    form: Literal["convex", "additive"] = Field(default="convex", description="(1 - a) CE + a KD, or CE + a KD")
    weight: float = Field(default=0.5, ge=0, description="a")
    epsilon: float = Field(default=0.0, ge=0, description="added to every target probability")


class KD(Method[KDConfig]):
    """One network taught by a trained, frozen teacher; the cost that online methods avoid."""

    name = "kd"
    title = "KD"
    paper = "Distilling the Knowledge in a Neural Network, Hinton et al., 2015"
    year = 2015
    needs_teacher = True

    def __init__(self, build: Build, config: KDConfig) -> None:
        super().__init__(build, config)
        self.student = Single(build(0))
        if build.teacher is None:
            raise ValueError("KD needs the trained teacher of another run")
        self.teacher = build.teacher.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; the teacher stays in eval mode, with the BN statistics of its own training."""
        super().train(mode)
        self.teacher.eval()
        return self

    def terms(self, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the weighted terms from logits [B, C] each, 0-d."""
        config = self.config
        kl = distillation(student, teacher, config.temperature, squared=config.squared, epsilon=config.epsilon)
        ce_weight = 1.0 - config.weight if config.form == "convex" else 1.0
        return {"ce": ce_weight * cross_entropy(student, labels), "kd": config.weight * kl}

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """CE against the labels and KL against the teacher's deployed head on the same view."""
        images = batch.views[0]
        with torch.no_grad():
            teacher = self.teacher.predict(images)[self.teacher.deployed]
        return self.terms(self.student(images), teacher, batch.labels)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the student's logits."""
        return {"student": self.student(images)}

"""DKEL: decoupled knowledge with ensemble learning for online distillation (Shao & Chen 2023, arXiv 2312.11218)."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from okdbench.config import Count
from okdbench.methods.base import Batch, CodeDifference
from okdbench.methods.parts.losses import cross_entropies, distillation, mean_of_others
from okdbench.methods.pcl import PCL, PCLConfig


class DKELConfig(PCLConfig):
    """Hyper-parameters of DKEL.

    ``paper`` follows the text: no ramp-up is mentioned, the ensemble term is added, the teacher starts from n = 1 step
    at lr 0.01, and, since the text relies on that start, the EMA has no warm-up (which would erase it at the first
    step). ``released`` is the public code: its ramp-up with lambda = 0.1 is zero before epoch 81, the ensemble term
    replaces part of the PM term (convex mix), r is cut to 0 at 0.01, n + 1 steps at lr 0.001, EMA warm-up on.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "released": {
            "ramp": "released",
            "weight": 0.1,
            "ensemble": "convex",
            "cutoff": 0.01,
            "init_lr": 0.001,
            "init_extra_step": True,
            "ema_warmup": True,
        },
    }
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "ramp-up of the distillation terms",
            "none is mentioned",
            "the epoch is divided by the weight where the length 80 was meant: no distillation before epoch 81, all "
            "of it from there on",
            "DKEL 656c460",
            "Tables 1 to 4, Figures 6 and 7",
        ),
        CodeDifference(
            "weight lambda",
            "",
            "0.1 in the commit, 1.0 in a compiled file of 2022-10-22 that was left in the repository",
            "DKEL 656c460",
            "Tables 1 to 4: which of the two made which number is not known",
        ),
        CodeDifference(
            "teacher's start",
            "n steps at rate 0.01 that the teacher keeps",
            "n + 1 steps at rate 0.001, which the first EMA update overwrites with the student",
            "DKEL 656c460",
            "Table 3 (+ L_dk), Figure 6",
        ),
        CodeDifference(
            "decaying ensemble term",
            "added to the loss",
            "replaces part of the peers' term (convex mix), and acts only while the ramp-up has all but switched it "
            "off",
            "DKEL 656c460",
            "Table 3 (+ L_de), Table 4, Figure 7",
        ),
        CodeDifference(
            "evaluated network",
            "",
            "the EMA teacher, the best of three peers at the best epoch, chosen on the test set",
            "DKEL 656c460",
            "Tables 1 to 4",
        ),
    )
    ramp: Literal["intended", "released", "none"] = "none"
    ema_warmup: bool = Field(default=False, description=PCLConfig.model_fields["ema_warmup"].description)
    teacher_init: Literal["random", "copy"] = "copy"
    init_steps: Count = Field(default=1, ge=0, description="n, cross-entropy steps of the teacher before training")
    init_extra_step: bool = Field(default=False, description="one step more, as the released loop does")
    init_lr: float = Field(default=0.01, gt=0)
    init_weight_decay: float = Field(default=5e-4, ge=0)
    ensemble: Literal["additive", "convex", "off"] = Field(
        default="additive", description="how the ensemble term enters"
    )
    decay: Literal["exponential", "cosine", "linear", "none"] = "exponential"
    alpha: float = Field(default=0.5, gt=0, description="rate of the exponential decay")
    cutoff: float = Field(default=0.0, ge=0, description="the ensemble weight is 0 once it is at or below this")


class DKEL(PCL):
    """PCL with a teacher that starts apart from the student and a decaying target made of the teachers' ensemble."""

    name = "dkel"
    title = "DKEL"
    paper = "Decoupled Knowledge with Ensemble Learning for Online Distillation, Shao & Chen, 2023"
    year = 2023
    Config = DKELConfig
    config: DKELConfig

    def schedule(self, epoch: int, epochs: int) -> dict[str, float]:
        """w(e) as in PCL, and r(e), the weight of the ensemble term (equations 11, 13, 14)."""
        config = self.config
        ensemble = {
            "exponential": math.exp(-config.alpha * epoch),
            "cosine": 0.5 * (1.0 + math.cos(math.pi * epoch / epochs)),
            "linear": 1.0 - epoch / epochs,
            "none": 1.0,
        }[config.decay]
        return {**super().schedule(epoch, epochs), "ensemble": ensemble if ensemble > config.cutoff else 0.0}

    def terms(self, peers: Tensor, ensemble: Tensor, teachers: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """PCL's terms and DE_i = KD(z_i <- mean of the other teachers' logits), [m] (equations 9, 10)."""
        terms = super().terms(peers, ensemble, teachers, labels)
        if self.config.ensemble != "off":
            terms["de"] = distillation(peers, mean_of_others(teachers), self.config.temperature)
        return terms

    def combine(self, terms: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """PCL's objective + w r DE_i; in the convex mix PM_i keeps only 1 - r of its weight."""
        weighted = super().combine(terms, weights)
        if self.config.ensemble == "off":
            return weighted
        ensemble = weights["ensemble"]
        weighted["de"] = weights["distillation"] * ensemble * terms["de"]
        if self.config.ensemble == "convex" and "pm" in weighted:
            weighted["pm"] = (1.0 - ensemble) * weighted["pm"]
        return weighted

    def prepare(self, batches: Iterator[Batch]) -> None:
        """Train the teacher for a few plain SGD steps on the mean CE of its peers (its ensemble classifier stays)."""
        config = self.config
        steps = config.init_steps + config.init_extra_step if config.init_steps else 0
        parameters = self._ema.teachers
        optimizer = torch.optim.SGD(parameters, lr=config.init_lr, weight_decay=config.init_weight_decay)
        for parameter in parameters:
            parameter.requires_grad_(True)
        for _ in range(steps):
            batch = next(batches)
            peers, _ = self.teacher(batch.views)
            optimizer.zero_grad()
            cross_entropies(peers, batch.labels).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        for parameter in parameters:
            parameter.requires_grad_(False)
        self.zero_grad()

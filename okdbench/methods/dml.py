"""DML: deep mutual learning (Zhang et al., CVPR 2018, arXiv 1706.00384)."""

from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from okdbench.config import Few
from okdbench.methods.base import Batch, Build, CodeDifference, Method, MethodConfig, Progress, Update, sum_terms
from okdbench.methods.parts.losses import (
    cross_entropies,
    distillation,
    log_mean_of_others,
    mean_of_others,
    mean_off_diagonal,
    pairwise_distillation,
)
from okdbench.methods.parts.peers import peer_heads
from okdbench.networks import Single


class DMLConfig(MethodConfig):
    """Hyper-parameters of DML; the defaults are the paper's.

    ``released`` is the form of the OKDDip harness, which PCL's and DKEL's comparisons reuse: T = 3 with T^2, the
    mean of the other peers' logits as target, the gradient also flowing into it, one joint step, 4 peers. (The DML
    authors released no CIFAR recipe.)
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "released": {
            "peers": 4,
            "temperature": 3.0,
            "target": "logit-mean",
            "update": "simultaneous",
            "detach": False,
            "epsilon": 1e-7,
        },
    }
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "target",
            "each of the peers",
            "the mean of the peers' logits at T = 3, with gradient through it, which the paper of DML rejects",
            "OKDDip, files of 2020-07-08",
            "columns DML of OKDDip Tables 1 and 2, PCL and DKEL Table 1",
        ),
    )
    peers: Few = Field(default=2, ge=2, description="separate networks")
    temperature: float = Field(default=1.0, gt=0)
    squared: bool = Field(default=True, description="multiply the KL by T^2")
    target: Literal["pairwise", "probability-mean", "logit-mean"] = "pairwise"
    update: Literal["sequential", "simultaneous"] = Field(
        default="sequential",
        description="Algorithm 1: update the networks in turn, predictions are recomputed each time",
    )
    detach: bool = Field(default=True, description="targets are constants")
    epsilon: float = Field(default=0.0, ge=0, description="added to every target probability")

    @model_validator(mode="after")
    def _sequential_detaches(self) -> Self:
        if self.update == "sequential" and not self.detach:
            raise ValueError("update: sequential steps one network at a time and needs detach: true")
        return self


class DML(Method[DMLConfig]):
    """Peers trained together on the same view, each mimicking the others' predictions."""

    name = "dml"
    title = "DML"
    paper = "Deep Mutual Learning, Zhang et al., CVPR 2018"
    year = 2018
    deployed = "peer0"
    supports_pairs = True
    compilable = False

    def __init__(self, build: Build, config: DMLConfig) -> None:
        super().__init__(build, config)
        self.peers = nn.ModuleList(Single(build(index)) for index in range(config.peers))

    def heads(self) -> tuple[str, ...]:
        """Return a head for each network, and one for the mean of their logits."""
        return (*peer_heads(self.config.peers), "ensemble")

    def terms(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """CE and mimicry of each peer, [m] each, from logits [m, B, C] (equations 2, 5-8 of the paper)."""
        config = self.config
        targets = logits.detach() if config.detach else logits
        form: dict[str, Any] = {"squared": config.squared, "epsilon": config.epsilon}
        if config.target == "pairwise":
            kl = mean_off_diagonal(pairwise_distillation(logits, targets, config.temperature, **form))
        elif config.target == "logit-mean":
            kl = distillation(logits, mean_of_others(targets), config.temperature, **form)
        else:
            others = log_mean_of_others((targets / config.temperature).log_softmax(dim=-1)) * config.temperature
            kl = distillation(logits, others, config.temperature, **form)
        return {"ce": cross_entropies(logits, labels), "kl": kl}

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """sum_k CE_k + KL_k over all peers."""
        logits = torch.stack([peer(batch.views[0]) for peer in self.peers])
        return {name: term.sum() for name, term in self.terms(logits, batch.labels).items()}

    def training_step(self, batch: Batch, progress: Progress, update: Update) -> dict[str, Tensor]:
        """Do the joint step, or Algorithm 1: each network in turn, all predictions recomputed on the same batch."""
        if self.config.update == "simultaneous":
            return super().training_step(batch, progress, update)
        logged: dict[str, Tensor] = {}
        for turn in range(len(self.peers)):
            logits = []
            for index, peer in enumerate(self.peers):
                with torch.set_grad_enabled(index == turn):
                    logits.append(peer(batch.views[0]))
            own = {name: term[turn] for name, term in self.terms(torch.stack(logits), batch.labels).items()}
            update(sum_terms(own))
            logged = {name: term.detach() + logged.get(name, 0.0) for name, term in own.items()}
        return logged

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of every peer and their mean."""
        logits = torch.stack([peer(images) for peer in self.peers])
        return self.named((*logits, logits.mean(dim=0)))

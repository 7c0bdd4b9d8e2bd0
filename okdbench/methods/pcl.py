"""PCL: peer collaborative learning for online knowledge distillation (Wu & Gong, AAAI 2021, arXiv 2006.04147)."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from okdbench.config import Count, Few
from okdbench.methods.base import Batch, Build, CodeDifference, Method, MethodConfig, Progress
from okdbench.methods.parts.ema import EMA
from okdbench.methods.parts.losses import cross_entropies, distillation, mean_off_diagonal, pairwise_distillation
from okdbench.methods.parts.peers import peer_heads, stack_logits
from okdbench.methods.parts.schedules import ramp_up, ramp_up_released
from okdbench.networks import Branched


class PCLConfig(MethodConfig):
    """Hyper-parameters of PCL.

    ``released`` is the public re-implementation (by the DKEL author), whose ramp-up divides the epoch by lambda
    instead of by its length and so switches distillation off before epoch 81; it produced the PCL row of the DKEL
    tables.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {}, "released": {"ramp": "released"}}
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "ramp-up of the distillation terms",
            "80 epochs",
            "the epoch is divided by the weight where the length was meant: no distillation before epoch 81",
            "PCL (by the author of DKEL) 6afb473",
            "README of that code, DKEL Tables 1 and 2 (column PCL)",
        ),
        CodeDifference(
            "evaluated network",
            "the first peer of the EMA teacher",
            "the best of three peers at the best epoch, chosen on the test set",
            "PCL (by the author of DKEL) 6afb473",
            "README of that code, DKEL Tables 1 and 2 (column PCL)",
        ),
        CodeDifference(
            "branches of VGG and DenseNet",
            "three branches",
            "one module, called three times, until commit 711e8a1",
            "PCL (by the author of DKEL) 6afb473",
            "README of that code, VGG-16 and DenseNet-40-12",
        ),
        CodeDifference(
            "branches of DenseNet",
            "",
            "do not end with batch normalisation, unlike those of OKDDip and DKEL",
            "PCL (by the author of DKEL) 6afb473",
            "DKEL Table 1 (column PCL, DenseNet-40-12), probably",
        ),
    )
    peers: Few = Field(default=3, ge=2, description="branches")
    temperature: float = Field(default=3.0, gt=0)
    weight: float = Field(default=1.0, ge=0, description="lambda, the final weight of the distillation terms")
    ensemble_of: Literal["features", "logits"] = Field(
        default="features",
        description="a classifier over all peers' features, or the sum of their logits (PCL Table 2)",
    )
    peer_teachers: bool = Field(default=True, description="the PM term: the EMA copies of peers teach")
    taught_by: Literal["others", "own"] = Field(
        default="others",
        description="whose EMA copies teach a peer: those of the others, or its own, as in Mean Teacher (PCL Table 2)",
    )
    ramp: Literal["intended", "released", "none"] = "intended"
    ramp_epochs: Count = Field(default=80, ge=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1, description="beta")
    ema_warmup: bool = Field(
        default=True, description="coefficient min(1 - 1/(g+1), beta): the first step copies the student"
    )
    ema_start: int = Field(default=0, ge=0, description="the warm-up counts steps from this number")
    views: Literal["different", "shared"] = Field(
        default="different", description="one augmented view per branch, or one for all"
    )
    classifiers: Literal["authors", "identical", "independent"] = Field(
        default="authors", description="how the branches' classifiers start"
    )
    teacher_init: Literal["random", "copy"] = "random"
    teacher_stem: Literal["own", "student"] = Field(
        default="own", description="whether the teacher has a stem of its own"
    )
    shared_branch: bool = Field(default=False, description="all branches are one module (collapse studies only)")

    @model_validator(mode="after")
    def _released_ramp_divides_by_the_weight(self) -> Self:
        if self.ramp == "released" and not self.weight:
            raise ValueError("ramp: released divides by the weight; set weight above 0 or ramp: none")
        return self


class PeerNetwork(nn.Module):
    """Branches on a shared trunk and an ensemble classifier over their concatenated features."""

    def __init__(self, build: Build, config: PCLConfig, first: int) -> None:
        super().__init__()
        parts = build.several(config.peers, first)
        self.network = Branched(parts, config.classifiers, shared_branch=config.shared_branch)
        self.ensemble: nn.Module | None = None
        if config.ensemble_of == "features":
            with build.keyed_init(first):
                self.ensemble = nn.Linear(config.peers * parts[0].feature_dim, build.classes)
                if parts[0].initialise:
                    parts[0].initialise(self.ensemble)

    def forward(self, views: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return peer logits [m, B, C] and ensemble logits [B, C]."""
        traces = self.network(views)
        logits = stack_logits(traces)
        if self.ensemble is None:
            return logits, logits.sum(dim=0)
        return logits, self.ensemble(torch.cat([trace.features for trace in traces], dim=1))


class PCL(Method[PCLConfig]):
    """Branches on different views, taught by their feature ensemble and by the EMA copies of the other branches."""

    name = "pcl"
    title = "PCL"
    paper = "Peer Collaborative Learning for Online Knowledge Distillation, Wu & Gong, AAAI 2021"
    year = 2021
    deployed = "teacher0"

    def __init__(self, build: Build, config: PCLConfig) -> None:
        super().__init__(build, config)
        self.views = config.peers if config.views == "different" else 1
        self.student = PeerNetwork(build, config, first=0)
        self.teacher = PeerNetwork(build, config, first=config.peers)
        if config.teacher_init == "copy":
            self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        if config.teacher_stem == "student":
            self.teacher.network.trunk = self.student.network.trunk
        self._ema = EMA(self.teacher, self.student, config.ema_decay, warmup=config.ema_warmup, start=config.ema_start)

    def heads(self) -> tuple[str, ...]:
        """Return the student peers and their ensemble classifier, then the same of the EMA teacher."""
        count = self.config.peers
        return (*peer_heads(count), "ensemble", *(f"teacher{i}" for i in range(count)), "teacher_ensemble")

    def schedule(self, epoch: int, epochs: int) -> dict[str, float]:
        """w(e): the weight of the distillation terms."""
        config = self.config
        if config.ramp == "released":
            return {"distillation": ramp_up_released(epoch, config.weight, config.ramp_epochs)}
        length = config.ramp_epochs if config.ramp == "intended" else 0
        return {"distillation": config.weight * ramp_up(epoch, length)}

    def terms(self, peers: Tensor, ensemble: Tensor, teachers: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Unweighted terms of each peer, [m] each, and CE of the ensemble, 0-d.

        Peer logits [m, B, C], ensemble logits [B, C], teacher logits [m, B, C]: PE_i = KD(z_i <- z_en), PM_i = mean of
        KD(z_i <- t_j) over the other teachers j, or KD(z_i <- t_i) where each peer is ``taught_by`` its own.
        """
        temperature = self.config.temperature
        target = ensemble.detach().expand_as(peers)
        terms = {
            "ce_ensemble": cross_entropies(ensemble[None], labels)[0],
            "ce": cross_entropies(peers, labels),
            "pe": distillation(peers, target, temperature),
        }
        if self.config.peer_teachers and self.config.taught_by == "own":
            terms["pm"] = distillation(peers, teachers, temperature)
        elif self.config.peer_teachers:
            terms["pm"] = mean_off_diagonal(pairwise_distillation(peers, teachers, temperature))
        return terms

    def combine(self, terms: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """CE(z_en) + sum_i [CE_i + w PE_i + w PM_i], peer by peer: [m] for each peer term."""
        taught = [name for name in terms if name in ("pe", "pm")]
        return {**terms, **{name: weights["distillation"] * terms[name] for name in taught}}

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The weighted terms summed over the peers."""
        peers, ensemble = self.student(batch.views)
        with torch.no_grad():
            teachers, _ = self.teacher(batch.views)
        terms = self.combine(self.terms(peers, ensemble, teachers, batch.labels), progress.weights)
        return {name: term.sum() for name, term in terms.items()}

    def after_step(self, progress: Progress) -> None:
        """Move the teacher towards the student."""
        self._ema.update(progress.step)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of all heads; the trunk runs once for each network."""
        outputs: list[Tensor] = []
        for network in (self.student, self.teacher):
            peers, ensemble = network([images])
            outputs += [*peers, ensemble]
        return self.named(outputs)

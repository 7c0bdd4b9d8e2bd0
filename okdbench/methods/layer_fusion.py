"""Layer-fusion for online mutual knowledge distillation (Multimedia Systems 29, 787-796, 2023): a reconstruction.

No code is public, and of the paper only the abstract. The method is rebuilt here from the fusion module and the recipe
of FFL, which it extends, and the attention transfer that its references point to.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from okdbench.config import Count
from okdbench.methods.base import Batch, Build, Method, ParameterGroup, Progress
from okdbench.methods.parts.fusion import (
    Fused,
    FusionConfig,
    FusionModule,
    attention,
    attention_losses,
    different_shapes,
    fusion_groups,
    stage_maps,
)
from okdbench.methods.parts.losses import cross_entropies, distillation
from okdbench.methods.parts.peers import peer_heads, stack_logits
from okdbench.methods.parts.schedules import ramp_up
from okdbench.networks import Architecture, Separate
from okdbench.networks.counting import network_shapes

PEERS = 2


class LayerFusionConfig(FusionConfig):
    """Settings of the reconstruction; the abstract fixes none of their values."""

    auxiliary: Literal["logits", "attention", "both"] = Field(
        default="both", description="what the fusion modules of the middle stages teach"
    )
    auxiliary_weight: float = Field(
        default=1.0, ge=0, description="weight of the mean of the auxiliary teachers' predictions' terms"
    )
    beta: float = Field(default=10.0, ge=0, description="weight of the attention terms")
    spatial_attention: bool = Field(
        default=False, description="multiply the auxiliary modules' maps by their own attention, mean 1, before pooling"
    )
    temperature: float = Field(default=3.0, gt=0)
    ramp_epochs: Count = Field(default=80, ge=0, description="length of the ramp-up of distillation; 0: none")
    detach_fusion: bool = Field(default=False, description="the fusion modules send no gradient into the networks")
    epsilon: float = Field(default=1e-7, ge=0, description="added to every target probability, as in the code of FFL")


class AttendingFusion(FusionModule):
    """A fusion module that weighs the positions of its map by their attention, which is 1 on average."""

    def forward(self, maps: Sequence[Tensor]) -> Fused:
        """Maps [B, C, H, W] of the networks, in their order."""
        map = self.mix(torch.cat(list(maps), dim=1))
        weights = attention(map)
        return self.classify(map * weights / weights.mean(dim=(2, 3), keepdim=True).clamp(min=1e-12))


class LayerFusion(Method[LayerFusionConfig]):
    """Two networks joined by a fusion module after every stage; the last is their teacher, the others assist it."""

    name = "layer-fusion"
    title = "Layer-fusion (reconstruction)"
    paper = "Layer-fusion for Online Mutual Knowledge Distillation, Multimedia Systems 2023"
    year = 2023
    deployed = "peer0"

    def __init__(self, build: Build, config: LayerFusionConfig) -> None:
        super().__init__(build, config)
        self.network = Separate(build.several(PEERS))
        shapes = network_shapes(build.architectures[0])
        self.fusions = nn.ModuleList()
        # From the end, so that the ensemble teacher starts as FFL's fused classifier does.
        for index, shape in enumerate((shapes.final, *reversed(shapes.taps[:-1]))):
            kind = AttendingFusion if config.spatial_attention and index else FusionModule
            with build.keyed_init(index):
                self.fusions.insert(0, kind(shape.channels, PEERS, build.classes))

    @classmethod
    def pair_obstacle(cls, config: LayerFusionConfig, architectures: Sequence[Architecture]) -> str | None:
        """Return the reason if the networks' maps differ in shape."""
        return different_shapes("Layer-fusion", architectures)

    def heads(self) -> tuple[str, ...]:
        """Return the networks, the ensemble teacher and the mean of the networks' logits."""
        return (*peer_heads(PEERS), "fused", "ensemble")

    def schedule(self, epoch: int, epochs: int) -> dict[str, float]:
        """w(e): the weight of the distillation terms between predictions."""
        return {"distillation": ramp_up(epoch, self.config.ramp_epochs)}

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the networks, and the fusion modules with their own weight decay."""
        return fusion_groups(self, self.fusions, self.config)

    def fuse(self, maps: Sequence[Sequence[Tensor]]) -> list[Fused]:
        """Return the fused maps and their logits stage by stage, from `stage_maps` of each network."""
        return [
            module([map.detach() if self.config.detach_fusion else map for map in pair])
            for module, pair in zip(self.fusions, zip(*maps, strict=True), strict=True)
        ]

    def terms(
        self, logits: Tensor, maps: Sequence[Sequence[Tensor]], fused: Sequence[Fused], labels: Tensor
    ) -> dict[str, Tensor]:
        """Unweighted terms, from logits [2, B, C], the maps of each network and what `fuse` makes of them.

        CE_k and D(z_k <- z_f^S), [2]; CE of every fusion module, [S]; D(z_f^S <- mean of z_k), 0-d; of the auxiliary
        teachers l < S: mean over l of D(z_k <- z_f^l), and sum over l of AL(A(F_k^l), A(F_f^l)), [2] each.
        """
        config = self.config

        def mimic(student: Tensor, teacher: Tensor) -> Tensor:
            target = teacher.detach().expand_as(student)
            return distillation(student, target, config.temperature, epsilon=config.epsilon)

        *auxiliary, end = fused
        terms = {
            "ce": cross_entropies(logits, labels),
            "ce_fused": cross_entropies(torch.stack([module.logits for module in fused]), labels),
            "kl": mimic(logits, end.logits),
            "kl_fused": mimic(end.logits, logits.mean(dim=0)),
        }
        if auxiliary and config.auxiliary != "attention":
            each = torch.stack([mimic(logits, module.logits) for module in auxiliary])
            terms["kl_auxiliary"] = each.mean(dim=0)
        if auxiliary and config.auxiliary != "logits":
            targets = [module.map.detach() for module in auxiliary]
            terms["attention"] = torch.stack([attention_losses(own[:-1], targets) for own in maps])
        return terms

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropies, w times the prediction terms, and beta times the attention terms."""
        traces = self.network(batch.views)
        maps = [stage_maps(trace) for trace in traces]
        logits = stack_logits(traces)
        weight = progress.weights["distillation"]
        factors: dict[str, Tensor | float] = {
            "kl": weight,
            "kl_fused": weight,
            "kl_auxiliary": self.config.auxiliary_weight * weight,
            "attention": self.config.beta,
        }
        terms = self.terms(logits, maps, self.fuse(maps), batch.labels)
        return {name: factors.get(name, 1.0) * term.sum() for name, term in terms.items()}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of all heads; of the fusion modules only the last predicts."""
        traces = self.network([images])
        logits = stack_logits(traces)
        fused = self.fusions[-1]([trace.final for trace in traces])
        return self.named((*logits, fused.logits, logits.mean(dim=0)))

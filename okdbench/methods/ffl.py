"""FFL: feature fusion for online mutual knowledge distillation (Kim et al., ICPR 2020, arXiv 1904.09058)."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from okdbench.config import Count, Few
from okdbench.methods.base import Batch, Build, CodeDifference, Method, ParameterGroup, Progress, needs_one_network
from okdbench.methods.parts.fusion import Fused, FusionConfig, FusionModule, different_shapes, fusion_groups
from okdbench.methods.parts.losses import cross_entropies, distillation
from okdbench.methods.parts.peers import peer_heads, stack_logits, wire
from okdbench.methods.parts.schedules import ramp_up
from okdbench.networks import Architecture, Trace
from okdbench.networks.counting import network_shapes


class FFLConfig(FusionConfig):
    """Hyper-parameters of FFL.

    ``released`` is the authors' code, which adds 1e-7 to every target probability. (Its 301 epochs against the paper's
    300 are a matter of the recipe.)
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {}, "released": {"epsilon": 1e-7}}
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "epochs",
            "300",
            "301",
            "FFL 546d478",
            "FFL Table 1",
        ),
        CodeDifference(
            "held-out images",
            "",
            "a part of the training images",
            "FFL 546d478",
            "none: they are not used",
        ),
    )
    peers: Few = Field(default=2, ge=2, description="sub-networks; 3 in PCL's comparison")
    sharing: Literal["branches", "networks"] = Field(
        default="branches", description="the sub-networks share all stages but the last, or nothing"
    )
    temperature: float = Field(default=3.0, gt=0)
    ramp_epochs: Count = Field(default=80, ge=0, description="length of the ramp-up of distillation; 0: none")
    detach_fusion: bool = Field(
        default=False, description="the fused classifier sends no gradient into the sub-networks"
    )
    epsilon: float = Field(default=0.0, ge=0, description="added to every target probability")


class FFL(Method[FFLConfig]):
    """Sub-networks whose last maps are fused: their ensemble teaches the fused classifier, which teaches them."""

    name = "ffl"
    title = "FFL"
    paper = "Feature Fusion for Online Mutual Knowledge Distillation, Kim et al., ICPR 2020"
    year = 2020
    deployed = "peer0"

    def __init__(self, build: Build, config: FFLConfig) -> None:
        super().__init__(build, config)
        self.network = wire(build.several(config.peers), config.sharing)
        final = network_shapes(build.architectures[0]).final
        with build.keyed_init():
            self.fusion = FusionModule(final.channels, config.peers, build.classes)

    @classmethod
    def pair_obstacle(cls, config: FFLConfig, architectures: Sequence[Architecture]) -> str | None:
        """Return the reason if branches are of two networks, or the maps of separate ones differ in shape."""
        if config.sharing == "branches":
            return needs_one_network("FFL with branches", architectures)
        return different_shapes("FFL", architectures)

    def heads(self) -> tuple[str, ...]:
        """Return the sub-networks, the fused classifier and the mean of the sub-networks' logits."""
        return (*peer_heads(self.config.peers), "fused", "ensemble")

    def schedule(self, epoch: int, epochs: int) -> dict[str, float]:
        """w(e): the weight of the distillation terms."""
        return {"distillation": ramp_up(epoch, self.config.ramp_epochs)}

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the sub-networks, and the fusion module with its own weight decay."""
        return fusion_groups(self, self.fusion, self.config)

    def fuse(self, traces: Sequence[Trace]) -> Fused:
        """Return the fused map and its logits."""
        detach = self.config.detach_fusion
        return self.fusion([trace.final.detach() if detach else trace.final for trace in traces])  # type: ignore[no-any-return]

    def terms(self, logits: Tensor, fused: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Unweighted terms, from logits [m, B, C] and the fused classifier's [B, C].

        CE_k and D(z_k <- z_f), [m] each; CE of the fused classifier and D(z_f <- mean of z_k), 0-d.
        """
        config = self.config
        ensemble = logits.detach().mean(dim=0)

        def mimic(student: Tensor, teacher: Tensor) -> Tensor:
            return distillation(student, teacher, config.temperature, epsilon=config.epsilon)

        return {
            "ce": cross_entropies(logits, labels),
            "ce_fused": cross_entropies(fused[None], labels)[0],
            "kl": mimic(logits, fused.detach().expand_as(logits)),
            "kl_fused": mimic(fused, ensemble),
        }

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """sum_k CE_k + CE_f + w [sum_k D(z_k <- z_f) + D(z_f <- z_e)]."""
        traces = self.network(batch.views)
        logits = stack_logits(traces)
        terms = self.terms(logits, self.fuse(traces).logits, batch.labels)
        for name in ("kl", "kl_fused"):
            terms[name] = progress.weights["distillation"] * terms[name]
        return {name: term.sum() for name, term in terms.items()}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of all heads."""
        traces = self.network([images])
        logits = stack_logits(traces)
        return self.named((*logits, self.fuse(traces).logits, logits.mean(dim=0)))

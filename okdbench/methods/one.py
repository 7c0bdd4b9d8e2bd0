"""ONE: knowledge distillation by on-the-fly native ensemble (Lan, Zhu & Gong, NeurIPS 2018, arXiv 1806.04606)."""

from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from okdbench.config import Count, Few
from okdbench.methods.base import Batch, Build, CodeDifference, Method, MethodConfig, Progress
from okdbench.methods.parts.gate import Gate, mixed
from okdbench.methods.parts.losses import cross_entropies, distillation
from okdbench.methods.parts.peers import peer_heads, stack_logits, wire
from okdbench.methods.parts.schedules import ramp_up
from okdbench.networks import Separate


class ONEConfig(MethodConfig):
    """Hyper-parameters of ONE.

    ``paper``: three branches, target constant, no ramp-up. ``released`` is the authors' code: a ramp-up of 80 epochs
    and 1e-7 added to every target probability. ``okddip`` is the form of the OKDDip harness, which PCL's and DKEL's
    comparisons reuse: as released, with four branches and the gradient also flowing into the target. (Nesterov
    momentum, on in the paper and off in the code, is a matter of the recipe.)
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "released": {"ramp_epochs": 80, "epsilon": 1e-7},
        "okddip": {"peers": 4, "ramp_epochs": 80, "epsilon": 1e-7, "detach": False},
    }
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "Nesterov momentum",
            "on",
            "off",
            "ONE 54afde3",
            "ONE Tables 1, 3, 5 and 6",
        ),
        CodeDifference(
            "ramp-up",
            "none in the equation",
            "80 epochs",
            "ONE 54afde3",
            "ONE Tables 1, 3, 5 and 6",
        ),
        CodeDifference(
            "ResNet-110",
            "110 layers",
            "164 layers with bottlenecks; the printed cost of training is that of 164 layers, the one of testing "
            "that of 110",
            "ONE 54afde3",
            "ONE Tables 1, 3, 5 and 6, ResNet-110",
        ),
    )
    peers: Few = Field(default=3, ge=2, description="branches, the target network included")
    sharing: Literal["branches", "networks"] = Field(
        default="branches",
        description="branches of one network, or separate networks (Table 5), of which the target's map feeds the gate",
    )
    gate: Literal["learned", "mean"] = Field(
        default="learned", description="how the branches' logits are mixed into the teacher"
    )
    temperature: float = Field(default=3.0, gt=0)
    squared: bool = Field(default=True, description="multiply the KL by T^2")
    weight: float = Field(
        default=1.0, ge=0, description="final weight of the distillation terms; 0 is Table 5's row without distillation"
    )
    ramp_epochs: Count = Field(default=0, ge=0, description="length of the ramp-up of distillation; 0: none")
    detach: bool = Field(
        default=True, description="the target is a constant, so that the gate learns from the teacher's CE alone"
    )
    epsilon: float = Field(default=0.0, ge=0, description="added to every target probability")


class ONE(Method[ONEConfig]):
    """Branches of one network; a gate mixes their logits into a teacher that is built on the fly and teaches them."""

    name = "one"
    title = "ONE"
    paper = "Knowledge Distillation by On-the-Fly Native Ensemble, Lan et al., NeurIPS 2018"
    year = 2018
    deployed = "peer0"

    def __init__(self, build: Build, config: ONEConfig) -> None:
        super().__init__(build, config)
        networks = build.several(config.peers)
        self.network = wire(networks, config.sharing)
        self.split = networks[0].split
        self.gate: Gate | None = None
        if config.gate == "learned":
            with build.keyed_init():
                self.gate = Gate(networks[0].channels[self.split - 1], config.peers)

    def heads(self) -> tuple[str, ...]:
        """Return every branch (the first is the target network), and the gated ensemble, ONE-E."""
        return (*peer_heads(self.config.peers), "ensemble")

    def schedule(self, epoch: int, epochs: int) -> dict[str, float]:
        """w(e): the weight of the distillation terms."""
        return {"distillation": self.config.weight * ramp_up(epoch, self.config.ramp_epochs)}

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the branches [m, B, C], and of the teacher, sum_i g_i z_i, [B, C]."""
        if isinstance(self.network, Separate):
            traces = self.network([images])
            map = traces[0].taps[self.split - 1]
        else:
            map = self.network.trunk(images)
            traces = [branch(map) for branch in self.network.branches]
        logits = stack_logits(traces)
        return logits, mixed(logits, self.gate(map)) if self.gate else logits.mean(dim=0)

    def terms(self, logits: Tensor, ensemble: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """CE_i and KD_i = KD(z_i <- z_e), [m] each, and CE of the teacher, 0-d."""
        config = self.config
        target = (ensemble.detach() if config.detach else ensemble).expand_as(logits)
        return {
            "ce": cross_entropies(logits, labels),
            "ce_ensemble": cross_entropies(ensemble[None], labels)[0],
            "kl": distillation(logits, target, config.temperature, squared=config.squared, epsilon=config.epsilon),
        }

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """sum_i CE_i + CE(z_e) + w sum_i KD_i."""
        terms = self.terms(*self.logits(batch.views[0]), batch.labels)
        terms["kl"] = progress.weights["distillation"] * terms["kl"]
        return {name: term.sum() for name, term in terms.items()}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of all heads."""
        logits, ensemble = self.logits(images)
        return self.named((*logits, ensemble))

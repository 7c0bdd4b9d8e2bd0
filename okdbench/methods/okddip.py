"""OKDDip: online knowledge distillation with diverse peers (Chen et al., AAAI 2020, arXiv 1912.00350)."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from okdbench.config import Count, Few
from okdbench.methods.base import Batch, Build, CodeDifference, Method, MethodConfig, Progress, needs_one_network
from okdbench.methods.parts.losses import cross_entropies, distillation
from okdbench.methods.parts.peers import peer_heads, stack_logits, wire
from okdbench.methods.parts.schedules import ramp_up
from okdbench.networks import Architecture
from okdbench.networks.counting import network_shapes

REDUCTION = 8
"""The attention projects features to this fraction of their width."""


class OKDDipConfig(MethodConfig):
    """Hyper-parameters of OKDDip.

    ``paper`` mixes softened probabilities. Its text does not say what is constant in a target; the attention learns
    only through the targets, so they cannot be constant altogether: ``detach: values`` is our reading (constant
    predictions under trainable attention weights). ``released`` is the authors' code: it mixes logits, detaches nothing
    (so peers are also pushed towards those they teach) and adds 1e-7 to every target probability. Both ramp up over 80
    epochs; the paper counts iterations, the code (and this) epochs.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "released": {"mix": "logit", "detach": "none", "epsilon": 1e-7},
    }
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "targets",
            "softened probabilities are mixed",
            "logits are mixed, with gradient through the targets",
            "OKDDip, files of 2020-07-08",
            "OKDDip Tables 1 to 6; PCL and DKEL Table 1 (columns of that code)",
        ),
        CodeDifference(
            "branches of DenseNet",
            "branches of their own",
            "all branches are one dense block",
            "OKDDip, files of 2020-07-08",
            "OKDDip Table 2; PCL and DKEL Table 1 (columns CL, ONE, OKDDip)",
        ),
        CodeDifference(
            "dropout in VGG",
            "",
            "0.5 in branches, none in separate networks",
            "OKDDip, files of 2020-07-08",
            "OKDDip Tables 1, 2 and 4, VGG-16",
        ),
    )
    peers: Few = Field(default=4, ge=2, description="m, students in all: auxiliary peers and the leader")
    leader: bool = Field(
        default=True, description="the last student is the group leader; false: an auxiliary peer, as in Table 4"
    )
    sharing: Literal["branches", "networks"] = Field(
        default="branches", description="students are branches of one network, or separate networks"
    )
    mix: Literal["probability", "logit"] = Field(default="probability", description="what a target is an average of")
    attention: Literal["learned", "symmetric", "mean"] = Field(
        default="learned", description="symmetric: one projection for both sides; mean: every peer counts the same"
    )
    detach: Literal["none", "values", "full"] = Field(
        default="values",
        description="what is constant in targets: nothing, the predictions, or all (the attention stays random)",
    )
    temperature: float = Field(default=3.0, gt=0)
    squared: bool = Field(default=True, description="multiply the KL by T^2")
    ramp_epochs: Count = Field(default=80, ge=0, description="length of the ramp-up of distillation; 0: none")
    epsilon: float = Field(default=0.0, ge=0, description="added to every target probability")

    @model_validator(mode="after")
    def _peers_need_company(self) -> Self:
        if self.peers - self.leader < 2:
            raise ValueError("two auxiliary peers are needed; set peers: 3, or peers: 2 with leader: false")
        return self

    @property
    def auxiliary(self) -> int:
        """Number of auxiliary peers."""
        return self.peers - self.leader


class Attention(nn.Module):
    """How much each auxiliary peer attends to every auxiliary peer, itself included, image by image."""

    def __init__(self, features: int, *, symmetric: bool) -> None:
        super().__init__()
        self.query = nn.Linear(features, features // REDUCTION, bias=False)
        self.key = self.query if symmetric else nn.Linear(features, features // REDUCTION, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return features [a, B, D] -> log weights [B, a, a], log softmax_b(L(h_a) . E(h_b)), b along the last axis."""
        return torch.einsum("ibd,jbd->bij", self.query(features), self.key(features)).log_softmax(dim=-1)


class OKDDip(Method[OKDDipConfig]):
    """Two levels: peers learn from mixtures of one another, weighted by attention, and a leader from their mean."""

    name = "okddip"
    title = "OKDDip"
    paper = "Online Knowledge Distillation with Diverse Peers, Chen et al., AAAI 2020"
    year = 2020
    deployed = "leader"

    def __init__(self, build: Build, config: OKDDipConfig) -> None:
        super().__init__(build, config)
        networks = build.several(config.peers)
        self.network = wire(networks, config.sharing)
        self.attention: Attention | None = None
        if config.attention != "mean":
            with build.keyed_init():
                self.attention = Attention(networks[0].feature_dim, symmetric=config.attention == "symmetric")
            self.attention.requires_grad_(config.detach != "full")
        if not config.leader:
            self.deployed = "ensemble"

    @classmethod
    def pair_obstacle(cls, config: OKDDipConfig, architectures: Sequence[Architecture]) -> str | None:
        """Return the reason if branches are of two networks, or the features that attention compares differ."""
        if config.sharing == "branches":
            return needs_one_network("OKDDip with branches", architectures)
        widths = {network_shapes(architecture).features for architecture in architectures}
        if len(widths) == 1:
            return None
        return f"OKDDip's attention compares features, which have widths {sorted(widths)} here"

    def heads(self) -> tuple[str, ...]:
        """Return the auxiliary peers, the leader (if there is one) and the mean of the peers' logits."""
        peers = peer_heads(self.config.auxiliary)
        return (*peers, "leader", "ensemble") if self.config.leader else (*peers, "ensemble")

    def schedule(self, epoch: int, epochs: int) -> dict[str, float]:
        """w(e): the weight of the distillation terms."""
        return {"distillation": ramp_up(epoch, self.config.ramp_epochs)}

    def targets(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return every student's target as logits [m, B, C], from features [m, B, D] and logits [m, B, C].

        Only the auxiliary peers' features and logits enter. Targets made of probabilities p are given as T log p.
        """
        config, peers = self.config, self.config.auxiliary
        values = logits[:peers] if config.detach == "none" else logits[:peers].detach()
        weights = self._log_weights(features[:peers])
        if config.detach == "full":
            weights = weights.detach()
        if config.mix == "logit":
            return torch.einsum("bij,jbc->ibc", weights.exp(), values)
        # In the log domain, because a probability that underflows to 0 has no logarithm.
        log_values = (values / config.temperature).log_softmax(dim=-1)
        return (weights.permute(1, 2, 0)[..., None] + log_values).logsumexp(dim=1) * config.temperature

    def _log_weights(self, features: Tensor) -> Tensor:
        """Return the log weights [B, m, a] of the a auxiliary peers in each student's target; the leader's are
        equal."""
        peers, batch, _ = features.shape
        equal = features.new_full((batch, self.config.peers, peers), -math.log(peers))
        if self.attention is None:
            return equal
        return torch.cat([self.attention(features), equal[:, peers:]], dim=1)

    def terms(self, features: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """CE_i and KD_i = KD(z_i <- target i), [m] each, the leader last."""
        config = self.config
        targets = self.targets(features, logits)
        kl = distillation(logits, targets, config.temperature, squared=config.squared, epsilon=config.epsilon)
        return {"ce": cross_entropies(logits, labels), "kl": kl}

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """sum_i CE_i + w KD_i over the peers and the leader."""
        traces = self.network(batch.views)
        features, logits = (torch.stack(parts) for parts in zip(*((t.features, t.logits) for t in traces), strict=True))
        terms = self.terms(features, logits, batch.labels)
        return {"ce": terms["ce"].sum(), "kl": progress.weights["distillation"] * terms["kl"].sum()}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of all heads; the leader does not count for the ensemble."""
        logits = stack_logits(self.network([images]))
        ensemble = logits[: self.config.auxiliary].mean(dim=0)
        return self.named((*logits, ensemble))

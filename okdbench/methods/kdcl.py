"""KDCL: online knowledge distillation via collaborative learning (Guo et al., CVPR 2020).

No official code is public; T = 2, lambda = 1 and the targets come from reading notes and re-implementations.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from okdbench.config import Count, Few
from okdbench.methods.base import Batch, Build, Method, MethodConfig, Progress
from okdbench.methods.parts.losses import cross_entropies, distillation
from okdbench.methods.parts.peers import peer_heads, stack_logits
from okdbench.networks import Separate


class KDCLConfig(MethodConfig):
    """Hyper-parameters of KDCL.

    ``variant`` is the soft target that all networks share: ``minlogit``, ``naive``, ``linear`` and ``general`` are the
    paper's, ``mean`` is the plain mean of logits that a public re-implementation calls KDCL. Tables that print "KDCL"
    seldom say which; state it with every number. The first three read the labels.
    """

    peers: Few = Field(default=2, ge=2, description="separate networks")
    variant: Literal["minlogit", "naive", "linear", "general", "mean"] = "minlogit"
    views: Literal["different", "shared"] = Field(
        default="different", description="one augmented view per network, or one for all"
    )
    temperature: float = Field(default=2.0, gt=0)
    squared: bool = Field(default=True, description="multiply the KL by T^2")
    weight: float = Field(default=1.0, ge=0, description="lambda, the weight of distillation")
    detach: bool = Field(default=True, description="the target is a constant")
    solver_steps: Count = Field(default=50, ge=1, description="variant linear: steps of the weights' solver")


class KDCL(Method[KDCLConfig]):
    """Networks that each see their own view of the images and all learn from one target made of their logits.

    ``general`` is a reconstruction: the paper weights the networks by the correlation of their errors on held-out
    images, once per epoch; here the errors are those on the training batches of the epoch before (all networks count
    the same in the first epoch).
    """

    name = "kdcl"
    title = "KDCL"
    paper = "Online Knowledge Distillation via Collaborative Learning, Guo et al., CVPR 2020"
    year = 2020
    deployed = "peer0"
    supports_pairs = True
    correlation: Tensor
    mixture: Tensor
    epoch: Tensor

    def __init__(self, build: Build, config: KDCLConfig) -> None:
        super().__init__(build, config)
        peers = config.peers
        self.views = peers if config.views == "different" else 1
        self.network = Separate(build.several(peers))
        if config.variant == "general":
            self.register_buffer("correlation", torch.zeros(peers, peers, dtype=torch.float64))
            self.register_buffer("mixture", torch.full((peers,), 1.0 / peers, dtype=torch.float64))
            self.register_buffer("epoch", torch.tensor(-1.0))

    def heads(self) -> tuple[str, ...]:
        """Return a head for each network, and one for the mean of their logits."""
        return (*peer_heads(self.config.peers), "ensemble")

    def target(self, logits: Tensor, labels: Tensor, epoch: Tensor) -> Tensor:
        """Return the soft target as logits [B, C], from logits [m, B, C], labels [B] and the epoch (0-d)."""
        match self.config.variant:
            case "minlogit":
                return min_logit(logits, labels)
            case "naive":
                return best_network(logits, labels)
            case "linear":
                weights = simplex_weights(logits.detach(), labels, self.config.solver_steps)
                return torch.einsum("mb,mbc->bc", weights, logits)
            case "general":
                self._measure(logits.detach(), labels, epoch)
                return torch.einsum("m,mbc->bc", self.mixture.to(logits.dtype), logits)
        return logits.mean(dim=0)

    def _measure(self, logits: Tensor, labels: Tensor, epoch: Tensor) -> None:
        """Add the batch to the epoch's error correlation; when an epoch begins, weight by that of the epoch before."""
        errors = logits.double().softmax(dim=-1) - one_hot(labels, logits)
        batch = torch.einsum("ibc,jbc->ij", errors, errors)
        begins = epoch != self.epoch
        self.mixture.copy_(torch.where(begins, error_weights(self.correlation), self.mixture))
        self.correlation.copy_(torch.where(begins, batch, self.correlation + batch))
        self.epoch.copy_(epoch)

    def terms(self, logits: Tensor, labels: Tensor, epoch: Tensor) -> dict[str, Tensor]:
        """CE_i and KD_i = KD(z_i <- target), [m] each, from logits [m, B, C]."""
        config = self.config
        target = self.target(logits.detach() if config.detach else logits, labels, epoch).expand_as(logits)
        kl = distillation(logits, target, config.temperature, squared=config.squared)
        return {"ce": cross_entropies(logits, labels), "kl": kl}

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """sum_i CE_i + lambda KD_i."""
        logits = stack_logits(self.network(batch.views))
        terms = self.terms(logits, batch.labels, progress.epoch)
        return {"ce": terms["ce"].sum(), "kl": self.config.weight * terms["kl"].sum()}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of every network and their mean."""
        logits = stack_logits(self.network([images]))
        return self.named((*logits, logits.mean(dim=0)))


def one_hot(labels: Tensor, logits: Tensor) -> Tensor:
    """Return labels [B] as [B, C] in the logits' type; torch's own reads labels back on a CPU to check them."""
    return (labels[:, None] == torch.arange(logits.shape[-1], device=labels.device)).to(logits.dtype)


def min_logit(logits: Tensor, labels: Tensor) -> Tensor:
    """Return class by class the smallest of z_i - z_i[y]: [m, B, C] -> [B, C]; 0 at y, and no network's CE is lower."""
    right = labels[None, :, None].expand(len(logits), -1, 1)
    return (logits - logits.gather(2, right)).amin(dim=0)


def best_network(logits: Tensor, labels: Tensor) -> Tensor:
    """Return for each image the logits of the network with the lowest CE: [m, B, C] -> [B, C]."""
    losses = torch.stack([cross_entropy(peer, labels, reduction="none") for peer in logits])
    best = losses.argmin(dim=0)[None, :, None].expand(1, -1, logits.shape[2])
    return logits.gather(0, best)[0]


def simplex_weights(logits: Tensor, labels: Tensor, steps: int) -> Tensor:
    """Return for each image the weights a >= 0, sum 1, that minimise CE(sum_i a_i z_i, y): [m, B, C] -> [m, B].

    Exponentiated gradient from equal weights. The step is 1 / L, L the largest curvature of the loss on the simplex,
    max_ij range(z_i - z_j)^2 / 16, so the loss never rises and is within L log(m) / steps of its minimum.
    """
    differences = logits[:, None] - logits[None]
    spread = (differences.amax(dim=-1) - differences.amin(dim=-1)).amax(dim=(0, 1))
    rate = 16.0 / spread.square().clamp(min=1e-6)
    truth = one_hot(labels, logits)
    log_weights = torch.zeros_like(logits[..., 0])
    for _ in range(steps):
        weights = log_weights.softmax(dim=0)
        errors = torch.einsum("mb,mbc->bc", weights, logits).softmax(dim=-1) - truth
        log_weights = log_weights - rate * torch.einsum("bc,mbc->mb", errors, logits)
    return log_weights.softmax(dim=0)


def error_weights(correlation: Tensor) -> Tensor:
    """Return the weights [m] that minimise w^T C w with sum 1 (they may be negative): C^-1 1 / (1^T C^-1 1), C [m, m].

    A ridge of 1e-6 of the trace keeps the system solvable where networks err alike, as in collapsed or perfect fits.
    """
    identity = torch.eye(len(correlation), dtype=correlation.dtype, device=correlation.device)
    ridge = 1e-6 * correlation.trace() + 1e-12
    weights = solve(correlation + ridge * identity, identity.sum(dim=1))
    return weights / weights.sum()


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Return x [m] with ``matrix`` x = ``right`` for a positive definite matrix [m, m], which needs no pivots.

    Gauss and Jordan's elimination in plain operations, since the libraries behind ``torch.linalg.solve`` may wait for
    the device or allocate on it, which a graph cannot record.
    """
    rows = torch.cat([matrix, right[:, None]], dim=1)
    for number in range(len(matrix)):
        pivot = rows[number] / rows[number, number]
        others = rows - rows[:, number, None] * pivot
        rows = torch.cat([others[:number], pivot[None], others[number + 1 :]])
    return rows[:, -1]

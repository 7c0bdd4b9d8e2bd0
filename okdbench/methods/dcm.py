"""DCM: dense cross-layer mutual-distillation (Yao & Sun, ECCV 2020, arXiv 2008.07816)."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from okdbench.methods.base import Batch, Build, CodeDifference, Method, MethodConfig, Progress
from okdbench.methods.parts.exits import MultiExit
from okdbench.methods.parts.losses import cross_entropies
from okdbench.methods.parts.peers import peer_heads, stack_logits
from okdbench.networks import Architecture, AuxiliaryExit, Branch, Parts
from okdbench.networks.counting import late_depths

NETWORKS = 2
AUXILIARY = 2
"""Auxiliary classifiers of each network."""
WIDENING = 2
"""How much wider than the network's own the last stage of the second auxiliary classifier is."""
_CODE = "DCM df2f5f6"


class DCMConfig(MethodConfig):
    """Hyper-parameters of DCM.

    ``released`` is the authors' code, which smooths all probabilities by 1e-8. ``deep-supervision`` is a control: the
    auxiliary classifiers with cross-entropy, nothing else. With ``exits: final`` the method is mutual learning of two
    networks at T = 1.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "released": {"epsilon": 1e-8},
        "deep-supervision": {"connections": "none"},
    }
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "smoothing of probabilities",
            "",
            "1e-8 is added to every probability of both sides, and the sum divided out",
            _CODE,
            "all DCM numbers; felt where a probability is below 1e-7",
        ),
        CodeDifference(
            "momentum",
            "",
            "every drop of the learning rate makes a new optimiser, so that the momentum starts from zero",
            _CODE,
            "README table",
        ),
        CodeDifference(
            "evaluation of the second network",
            "means and deviations of both networks (README)",
            "of two WRNs the second is never evaluated; the MobileNet beside a WRN is evaluated in train mode: with "
            "statistics of each test batch, and the test images move its running statistics",
            _CODE,
            "README table, second networks",
        ),
        CodeDifference(
            "MobileNet",
            "",
            "five blocks on maps of 32 pixels where MobileNet has strides: 612 million MACs, not 46",
            _CODE,
            "README table, MobileNet",
        ),
    )
    exits: Literal["all", "final"] = Field(
        default="all", description="two auxiliary classifiers beside the final one of each network, or none"
    )
    connections: Literal["all", "same-stage", "none"] = Field(
        default="all",
        description="which classifiers of the other network teach each one: all, that of the same stage, or none",
    )
    epsilon: float = Field(
        default=0.0, ge=0, description="added to every probability of teachers and students, which are then normalised"
    )


class DCM(Method[DCMConfig]):
    """Two networks with auxiliary classifiers; every classifier of one learns from every one of the other.

    A network of stages 1 to S has auxiliary classifiers after stages S - 2 and S - 1: late networks of their own, the
    first shallower than what it stands beside, the second twice as wide. Their gradients train the shared stages.
    """

    name = "dcm"
    title = "DCM"
    paper = "Knowledge Transfer via Dense Cross-Layer Mutual-Distillation, Yao & Sun, ECCV 2020"
    year = 2020
    deployed = "peer0"
    supports_pairs = True

    def __init__(self, build: Build, config: DCMConfig) -> None:
        super().__init__(build, config)
        count = AUXILIARY if config.exits == "all" else 0
        parts = build.several(NETWORKS)
        networks = []
        for index, own in enumerate(parts):
            with build.keyed_init(index):
                networks.append(MultiExit(own, auxiliary_classifiers(own) if count else []))
        self.networks = nn.ModuleList(networks)
        auxiliary = [f"peer{i}.exit{j}" for i in range(NETWORKS) for j in range(1, count + 1)]
        self._heads = (*peer_heads(NETWORKS), "ensemble", *auxiliary)

    @classmethod
    def obstacle(cls, config: DCMConfig, architectures: Sequence[Architecture]) -> str | None:
        """Return the reason also where the late stages of a network cannot be built in other sizes."""
        for each in architectures if config.exits == "all" else ():
            depths = late_depths(each)
            if depths is None or len(depths) <= AUXILIARY:
                needs = "late stages of another depth and width, which auxiliary classifiers need"
                return f"{each.name} cannot have {needs}; set dcm.exits: final"
        return super().obstacle(config, architectures)

    def heads(self) -> tuple[str, ...]:
        """Return the final classifiers, the mean of their logits, and the auxiliary classifiers."""
        return self._heads

    def logits(self, images: Tensor) -> Tensor:
        """Return [2 n, B, C]: of each network its n classifiers, auxiliary ones first."""
        return torch.cat([stack_logits(network.traces(images)) for network in self.networks])  # type: ignore[operator]

    def terms(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """CE [2 n], and KL [2 n, 2 n] of every classifier (row) from every one of the other network (column; 0 within a
        network), from logits [2 n, B, C].
        """
        kl = divergences(logits, logits.detach(), self.config.epsilon)
        return {"ce": cross_entropies(logits, labels), "kl": self._connected(kl) * kl}

    def _connected(self, kl: Tensor) -> Tensor:
        """Return 1 where a classifier learns from another, 0 elsewhere, in the shape of ``kl``."""
        each = len(kl) // NETWORKS
        same, every = torch.eye(each, dtype=kl.dtype, device=kl.device), kl.new_ones(each, each)
        within = {"all": every, "same-stage": same, "none": 0.0 * every}[self.config.connections]
        return torch.kron(1.0 - torch.eye(NETWORKS, dtype=kl.dtype, device=kl.device), within)

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """sum_i CE_i + sum KL(j || i) over the classifiers i, j of different networks."""
        return {name: term.sum() for name, term in self.terms(self.logits(batch.views[0]), batch.labels).items()}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of all heads."""
        networks = [[trace.logits for trace in network.traces(images)] for network in self.networks]  # type: ignore[operator]
        final = torch.stack([exits[-1] for exits in networks])
        auxiliary = [logits for exits in networks for logits in exits[:-1]]
        return self.named((*final, final.mean(dim=0), *auxiliary))


def auxiliary_classifiers(parts: Parts) -> list[AuxiliaryExit]:
    """Return fresh auxiliary classifiers of a network that has `Late`.

    The first has as many blocks as the authors gave it, or half as many in the last stage, at least one, where their
    code has no such network; the second has the last stage only, as deep as the network's own.
    """
    late = parts.late
    assert late is not None
    *early, last = late.depths
    thinned = late.thinned or (*early, max(1, last // 2))
    first, second = len(late.depths) - AUXILIARY, len(late.depths) - 1
    return [
        AuxiliaryExit(first, Branch(late.build(thinned, 1), first)),
        AuxiliaryExit(second, Branch(late.build(late.depths, WIDENING), second)),
    ]


def divergences(students: Tensor, teachers: Tensor, epsilon: float = 0.0) -> Tensor:
    """KL(p_j || p_i) at T = 1, means over the batch: students [m, B, C] and teachers [k, B, C] -> [m, k].

    p = (softmax + epsilon) / (1 + C epsilon) on both sides.
    """
    (_, log_students), (targets, log_targets) = (smoothed(logits, epsilon) for logits in (students, teachers))
    negative_entropies = (targets * log_targets).sum(dim=-1).mean(dim=-1)
    return negative_entropies - torch.einsum("jbc,ibc->ij", targets, log_students) / students.shape[1]


def smoothed(logits: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return probabilities, smoothed by epsilon and normalised again, and their logarithms."""
    if not epsilon:
        logs = logits.log_softmax(dim=-1)
        return logs.exp(), logs
    probabilities = (logits.softmax(dim=-1) + epsilon) / (1.0 + logits.shape[-1] * epsilon)
    return probabilities, probabilities.log()

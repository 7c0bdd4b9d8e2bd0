"""CL: collaborative learning with intermediate-level representation sharing, CL-ILR (Song & Chai, NeurIPS 2018)."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from okdbench.config import Count, Few
from okdbench.methods.base import Batch, Build, CodeDifference, Method, MethodConfig, Progress
from okdbench.methods.parts.losses import cross_entropies, distillation, mean_of_others
from okdbench.methods.parts.peers import peer_heads, stack_logits
from okdbench.methods.parts.schedules import ramp_up
from okdbench.networks import Parts, Trunk, fork


class CLConfig(MethodConfig):
    """Hyper-parameters of CL.

    ``paper``: four heads on a binary tree, T = 2, CE and soft loss weighted 0.5 each, targets constant. The paper's
    text is not openly available: whether its soft loss carries T^2 is unknown (``squared``). Its soft loss is a
    cross-entropy; here it is the KL divergence, smaller by the entropy of the target, with the same gradient.

    ``released`` is the form of the OKDDip harness, which PCL's and DKEL's comparisons reuse: one split, T = 3, weights
    1 and 1, ramp-up of 80 epochs, the gradient also flowing into the target, 1e-7 added to every target probability.
    (The CL authors released no code.)
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "released": {
            "sharing": "flat",
            "temperature": 3.0,
            "beta": None,
            "ramp_epochs": 80,
            "detach": False,
            "epsilon": 1e-7,
        },
    }
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "sharing, temperature and ramp-up",
            "a binary tree, T = 2, no ramp-up",
            "one split (flat), T = 3, ramp-up over 80 epochs, gradient through the targets",
            "OKDDip, files of 2020-07-08",
            "columns CL of OKDDip Tables 1 and 2, PCL and DKEL Table 1",
        ),
    )
    peers: Few = Field(default=4, ge=2, description="heads")
    sharing: Literal["hierarchical", "flat"] = Field(
        default="hierarchical",
        description="a binary tree with two copies of the last stage but one and four of the last, or a single split",
    )
    rescaling: bool = Field(
        default=True, description="divide the gradient at every split by the number of paths that leave it"
    )
    temperature: float = Field(default=2.0, gt=0)
    squared: bool = Field(default=True, description="multiply the soft loss by T^2")
    beta: float | None = Field(
        default=0.5, ge=0, le=1, description="weight of CE, 1 - beta that of the soft loss; null: 1 and 1"
    )
    ramp_epochs: Count = Field(default=0, ge=0, description="length of the soft loss's ramp-up; 0: none")
    detach: bool = Field(default=True, description="targets are constants")
    epsilon: float = Field(default=0.0, ge=0, description="added to every target probability")

    @model_validator(mode="after")
    def _a_tree_has_four_heads(self) -> Self:
        if self.sharing == "hierarchical" and self.peers != 4:
            raise ValueError("sharing: hierarchical is a tree of 4 heads; set peers: 4 or sharing: flat")
        return self


class _Rescale(torch.autograd.Function):
    """Identity whose gradient is multiplied by a constant."""

    @staticmethod
    def forward(ctx: Any, map: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return map.view_as(map)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


def rescale(map: Tensor, factor: float) -> Tensor:
    """Return the map itself; its gradient is multiplied by ``factor`` on the way back."""
    return _Rescale.apply(map, factor)  # type: ignore[no-any-return, no-untyped-call]


class Tree(nn.Module):
    """One trunk that splits once (flat) or twice (hierarchical), with a branch per head at its ends.

    Every path from the root to a head is one whole network; the parts that several heads share are those of the first
    of them, so head 0 starts with the weights of the plain network.
    """

    def __init__(self, networks: Sequence[Parts], *, hierarchical: bool, rescaling: bool) -> None:
        super().__init__()
        first = networks[0]
        at = first.split - 1 if hierarchical else first.split
        self.rescaling = rescaling
        self.trunk = Trunk(first, at)
        pairs = networks[::2] if hierarchical else ()
        self.middles = nn.ModuleList(nn.Sequential(*parts.stages[at : parts.split]) for parts in pairs)
        self.branches = nn.ModuleList(fork(networks, first.split))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of all heads, [m, B, C]."""
        maps = [self.trunk(images)]
        if len(self.middles):
            maps = self._split(maps, self.middles)
        return stack_logits(self._split(maps, self.branches))

    def _split(self, maps: list[Tensor], children: nn.ModuleList) -> list[Any]:
        """Return the outputs of the children, divided evenly among the maps; gradients are averaged per map."""
        paths = len(children) // len(maps)
        if self.rescaling:
            maps = [rescale(map, 1.0 / paths) for map in maps]
        return [child(maps[index // paths]) for index, child in enumerate(children)]


class CL(Method[CLConfig]):
    """Classifier heads on a shared trunk, each taught by the mean of the others."""

    name = "cl"
    title = "CL"
    paper = "Collaborative Learning for Deep Neural Networks, Song & Chai, NeurIPS 2018"
    year = 2018
    deployed = "peer0"

    def __init__(self, build: Build, config: CLConfig) -> None:
        super().__init__(build, config)
        networks = build.several(config.peers)
        self.network = Tree(networks, hierarchical=config.sharing == "hierarchical", rescaling=config.rescaling)

    def heads(self) -> tuple[str, ...]:
        """Return every head, and the mean of their logits."""
        return (*peer_heads(self.config.peers), "ensemble")

    def schedule(self, epoch: int, epochs: int) -> dict[str, float]:
        """beta, and (1 - beta) times the ramp-up."""
        beta = self.config.beta
        hard, soft = (1.0, 1.0) if beta is None else (beta, 1.0 - beta)
        return {"ce": hard, "distillation": soft * ramp_up(epoch, self.config.ramp_epochs)}

    def terms(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """CE_i and KD_i = KD(z_i <- mean of the other heads' logits), [m] each, from logits [m, B, C]."""
        config = self.config
        targets = mean_of_others(logits.detach() if config.detach else logits)
        kl = distillation(logits, targets, config.temperature, squared=config.squared, epsilon=config.epsilon)
        return {"ce": cross_entropies(logits, labels), "kl": kl}

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """sum_i beta CE_i + (1 - beta) KD_i."""
        terms = self.terms(self.network(batch.views[0]), batch.labels)
        weights = progress.weights
        return {"ce": weights["ce"] * terms["ce"].sum(), "kl": weights["distillation"] * terms["kl"].sum()}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of every head and their mean."""
        logits = self.network(images)
        return self.named((*logits, logits.mean(dim=0)))

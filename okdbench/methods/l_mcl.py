"""L-MCL: layer-wise mutual contrastive learning (Yang et al., TPAMI 2023, arXiv 2207.11518)."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from okdbench.methods.base import Batch, Build, CodeDifference, ParameterGroup, Progress, no_light_exits, sum_terms
from okdbench.methods.parts.bank import POSITIVES, BankMethod, MemoryBank, hard_slots, soft_slots
from okdbench.methods.parts.contrastive import Contrast, ContrastiveConfig, Embedding, contrast
from okdbench.methods.parts.exits import Exits, MultiExit
from okdbench.methods.parts.hypergradient import Lookahead
from okdbench.methods.parts.losses import cross_entropies, pairwise_distillation
from okdbench.methods.parts.peers import peer_heads
from okdbench.networks import Architecture, AuxiliaryExit, Branch, Parts

NETWORKS = 2
INNER_STEPS = 2
PROJECTION = 128
"""Width in which the weight network compares two features."""


IMAGENET = {
    "alpha": 0.01,
    "beta": 0.01,
    "tau": 0.07,
    "bank": True,
    "images_per_class": 0,
    "exits": "light",
    "meta_every": 500,
    "meta_weight_decay": 1e-4,
}
"""Settings of the authors' ImageNet scripts."""


class LMCLConfig(ContrastiveConfig):
    """Hyper-parameters of L-MCL.

    ``paper`` meta-learns with the exact derivative, up to the constant targets of the soft terms, ``released`` with
    that of the authors' code, which is off by some percent (see `Lookahead`). ``exits-ce`` is a control: the auxiliary
    exits and cross-entropy, nothing else. ``imagenet`` has the settings of the authors' ImageNet scripts,
    ``imagenet-released`` their slips as well.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "released": {"adjoint": "released"},
        "exits-ce": {"alpha": 0.0, "beta": 0.0, "gamma": 0.0, "lam": 0.0, "kd": False, "aggregator_ce": False},
        "imagenet": IMAGENET,
        "imagenet-released": {
            **IMAGENET,
            "adjoint": "released",
            "vcl_bank": "released",
            "synchronise_heads": False,
        },
    }
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "derivative of the meta step",
            "of the steps taken",
            "the momentum enters its adjoint with factor 1 where the weight decay belongs: 2 to 11% off",
            "L-MCL 2c0901e",
            "all L-MCL numbers",
        ),
        CodeDifference(
            "bank that VCL reads on ImageNet",
            "each network's own",
            "both terms of a pair read the bank of its first network",
            "L-MCL 2c0901e",
            "ImageNet",
        ),
        CodeDifference(
            "heads of several processes on ImageNet",
            "",
            "embedding heads and aggregators start differently in each process and are not synchronised, while the "
            "banks mix rows of all",
            "L-MCL 2c0901e",
            "ImageNet, where it was trained in two processes as the README says",
        ),
        CodeDifference(
            "evaluated network",
            "",
            "the best of all exits at the best epoch, chosen on the test set, for each network by itself",
            "L-MCL 2c0901e",
            "all L-MCL numbers",
        ),
    )
    exits: Literal["all", "light", "final"] = Field(
        default="all",
        description="auxiliary exits: copies of all later stages after each stage, lighter ones made for the network"
        " (the ImageNet code), or none",
    )
    kd: bool = Field(default=True, description="both aggregated logits teach both final exits")
    aggregator_ce: bool = Field(default=True, description="cross-entropy of the aggregated logits trains their weights")
    pair_weight: float = Field(default=2.0, gt=0, description="of each pair of exits; the code visits each one twice")
    meta_every: int = Field(
        default=50, ge=0, description="steps between two meta steps of the weight network; 0: it stays as drawn"
    )
    meta_momentum: float = Field(default=0.9, ge=0, lt=1, description="of the meta step and of the steps within it")
    meta_weight_decay: float = Field(default=5e-4, ge=0, description="likewise")
    adjoint: Literal["exact", "released"] = Field(
        default="exact", description="the derivative of the steps, or what the authors' code computes"
    )
    lambda_detach_inner: bool = Field(
        default=False, description="in the steps within a meta step, too, pair weights send no gradient into features"
    )
    vcl_bank: Literal["own", "released"] = Field(
        default="own",
        description="the bank that VCL contrasts an exit with: its own network's, or each in turn, as the authors' code"
        " does by mistake",
    )
    synchronise_heads: bool = Field(
        default=True,
        description="several processes have the same embedding heads and aggregators; in the authors' code each has"
        " its own",
    )


class PerExit(nn.Module):
    """A layer of its own for each exit of a network."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, features: Tensor) -> Tensor:
        """[n, B, D] -> [n, B, width of the layers]."""
        return torch.stack([layer(each) for layer, each in zip(self.layers, features, strict=True)])


class Aggregator(nn.Module):
    """Mixes a network's logits, image by image, with weights from the features of all its exits."""

    def __init__(self, exits: int, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(exits * features, features), nn.ReLU(), nn.Linear(features, exits))

    def forward(self, exits: Exits) -> Tensor:
        """Return the aggregated logits [B, C]."""
        weights = self.layers(exits.features.transpose(0, 1).flatten(1)).softmax(dim=-1)
        return torch.einsum("bn,nbc->bc", weights, exits.logits)


class WeightNetwork(nn.Module):
    """How much each exit of one network matters to each exit of the other, image by image; learnt by meta steps."""

    def __init__(self, exits: Sequence[int], features: Sequence[int]) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            PerExit(nn.Linear(width, PROJECTION) for _ in range(count))
            for count, width in zip(exits, features, strict=True)
        )
        for index, parameter in enumerate(self.parameters()):
            self.register_buffer(f"velocity{index}", torch.zeros_like(parameter))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """lambda [n1, n2, B] = sigmoid(cos) of projected features [n1, B, D1] and [n2, B, D2]: in (.269, .731)."""
        one, two = (
            functional.normalize(project(features), dim=-1)
            for project, features in zip(self.projections, (first, second), strict=True)
        )
        return torch.einsum("kbp,zbp->kzb", one, two).sigmoid()

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rate: Tensor, momentum: float, weight_decay: float) -> None:
        """One step of SGD with Nesterov momentum."""
        parameters: list[Tensor] = list(self.parameters())
        velocities = list(self.buffers())
        moves = torch._foreach_add(list(gradients), parameters, alpha=weight_decay)
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, moves)
        torch._foreach_add_(moves, velocities, alpha=momentum)
        torch._foreach_sub_(parameters, list(torch._foreach_mul(moves, rate)))


class LMCL(BankMethod[LMCLConfig]):
    """Two networks that contrast all pairs of their exits, with pair weights that a meta step learns.

    A network of n stages has n exits: auxiliary ones after all stages but the last, and its own; light exits are those
    of its architecture.
    """

    name = "l-mcl"
    title = "L-MCL"
    paper = "Online Knowledge Distillation via Mutual Contrastive Learning for Visual Recognition, Yang et al., 2023"
    year = 2023
    deployed = "peer0"
    supports_pairs = True
    banks = NETWORKS

    def __init__(self, build: Build, config: LMCLConfig) -> None:
        super().__init__(build, config)
        self.images_per_class = config.images_per_class
        self.meta_every = config.meta_every if config.contrasts else 0
        parts = build.several(NETWORKS)
        auxiliaries = [auxiliary_exits(build, index, each, config.exits) for index, each in enumerate(parts)]
        exits = [len(each) + 1 for each in auxiliaries]
        widths = [each.feature_dim for each in parts]
        self.networks = nn.ModuleList(MultiExit(*each) for each in zip(parts, auxiliaries, strict=True))
        with build.keyed_init():
            self.embeddings, self.aggregators = nn.ModuleList(), nn.ModuleList()
            for count, width in zip(exits, widths, strict=True):
                if config.contrasts:
                    self.embeddings.append(PerExit(Embedding(width, config.embedding) for _ in range(count)))
                if count > 1 and (config.kd or config.aggregator_ce):
                    self.aggregators.append(Aggregator(count, width))
            self.matching = WeightNetwork(exits, widths) if config.contrasts else None
        self.aggregators.requires_grad_(config.aggregator_ce)
        peers = range(NETWORKS)
        auxiliary = [f"peer{i}.exit{j}" for i in peers for j in range(1, exits[i])]
        aggregated = [f"aggregated{i}" for i in range(len(self.aggregators))]
        self._heads = (*peer_heads(NETWORKS), "ensemble", *auxiliary, *aggregated)

    @classmethod
    def obstacle(cls, config: LMCLConfig, architectures: Sequence[Architecture]) -> str | None:
        """Return the reason also where a network does not have the light exits that the settings ask for."""
        heavy = [each for each in architectures if config.exits == "light" and not each.light_exits]
        return no_light_exits(heavy[0]) if heavy else super().obstacle(config, architectures)

    def heads(self) -> tuple[str, ...]:
        """Return the final exits, the mean of their logits, the auxiliary exits, and the aggregated logits."""
        return self._heads

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return everything but the weight network, which `meta_step` trains."""
        own = {id(p) for p in self.matching.parameters()} if self.matching else set()
        return [ParameterGroup([p for p in self.parameters() if p.requires_grad and id(p) not in own])]

    def apart(self) -> list[nn.Parameter]:
        """Return the embedding heads and the aggregators, unless they are synchronised."""
        modules = [] if self.config.synchronise_heads else [self.embeddings, self.aggregators]
        return [parameter for module in modules for parameter in module.parameters()]

    def terms(self, answers: Sequence[Exits], labels: Tensor, slots: Tensor | None = None) -> dict[str, Tensor]:
        """Return the weighted terms of an ordinary step, 0-d, from the exits of both networks and labels [B].

        With ``slots`` of the memory banks images are contrasted with these, else with one another.
        """
        config = self.config
        terms = {"ce": cross_entropy_of_exits(answers, labels)}
        aggregated = self.aggregate(answers)
        if self.aggregators and config.aggregator_ce:
            terms["ce_aggregated"] = cross_entropies(aggregated, labels).sum()
        if config.kd:
            final = torch.stack([exits.logits[-1] for exits in answers])
            terms["kd"] = pairwise_distillation(final, aggregated.detach(), config.temperature).sum()
        if self.matching:
            with torch.no_grad():
                weights = self.matching(*(exits.features.detach() for exits in answers))
            terms |= self.contrastive(answers, labels, weights, slots)
        return terms

    def aggregate(self, answers: Sequence[Exits]) -> Tensor:
        """Return aggregated logits [2, B, C]; the final exit's own logits if a network has no other exit."""
        if not self.aggregators:
            return torch.stack([exits.logits[-1] for exits in answers])
        return torch.stack([mix(exits) for mix, exits in zip(self.aggregators, answers, strict=True)])

    def contrastive(
        self, answers: Sequence[Exits], labels: Tensor, weights: Tensor, slots: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the contrastive terms over all pairs of exits of both networks, with weights [n1, n2, B]."""
        heads = zip(self.embeddings, answers, strict=True)
        embeddings = torch.cat([embed(exits.features) for embed, exits in heads])
        first, second, _ = weights.shape
        if self.bank and slots is not None:
            self.note(slots, embeddings[[first - 1, first + second - 1]])
            return self.config.weighted(self._with_banks(self.bank, embeddings, slots, weights))
        # [n1 + n2, n1 + n2, B]: two exits of one network are not a pair, and a pair counts equally in both directions.
        upper = functional.pad(weights, (0, 0, first, 0))
        lower = functional.pad(weights.transpose(0, 1), (0, 0, 0, second))
        pairs = self.config.pair_weight * torch.cat([upper, lower])
        rows = contrast(embeddings, labels, self.config)
        return self.config.weighted(rows.total(pairs.sum(dim=1), pairs))

    def _with_banks(self, bank: MemoryBank, embeddings: Tensor, slots: Tensor, weights: Tensor) -> Contrast:
        """Return the terms, 0-d, of all exits' embeddings [n1 + n2, B, E], contrasted with the banks."""
        config = self.config
        similarities = bank.similarities(slots, embeddings, config.tau)
        cut = len(weights)
        first, second = similarities[:, :cut], similarities[:, cut:]  # of the exits of either network
        own, other = (first[0], second[1]), (first[1], second[0])
        sums = weights.sum(dim=1), weights.sum(dim=0)  # of each exit over those of the other network

        def hard(tiles: Sequence[Tensor], positives: int) -> Tensor:
            pairs = zip(tiles, sums, strict=True)
            return torch.stack([(w * hard_slots(each, positives)).mean(dim=-1).sum() for each, w in pairs]).sum()

        def soft(first: Tensor, second: Tensor) -> Tensor:
            both = soft_slots(first, second, config.temperature)
            both = both + soft_slots(second, first, config.temperature).transpose(0, 1)
            return (weights * both).mean(dim=-1).sum()

        visits = [(own, 1.0)]
        if config.vcl_bank == "released":
            visits = [((first[0], second[0]), 0.5), ((first[1], second[1]), 0.5)]
        within = [([tile[..., 1:] for tile in tiles], share) for tiles, share in visits]
        terms = (
            torch.stack([share * hard(tiles, POSITIVES) for tiles, share in within]).sum(),
            hard(other, POSITIVES + 1),
            torch.stack([share * soft(*tiles) for tiles, share in within]).sum(),
            soft(*other),
        )
        return Contrast(*(config.pair_weight * term for term in terms))

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """CE of all exits and aggregated logits + KD of the final exits + contrast between the networks' exits."""
        answers = [network(batch.views[0]) for network in self.networks]
        return self.terms(answers, batch.labels, self.slots(batch, progress))

    def meta_step(self, batch: Batch, progress: Progress) -> None:
        """One meta step of the weight network.

        Two steps on the contrastive terms alone and one on the cross-entropy of the exits show where the pair weights
        lead; these then follow the gradient of that cross-entropy. The aggregators take no part. Each of the first two
        also moves the banks, of which the next one reads what it left.
        """
        if not self.matching:
            return
        config, (images, *_), labels = self.config, batch.views, batch.labels
        matching, slots = self.matching, self.slots(batch, progress)
        rows = self.bank.at(self.gather(batch.indices)) if self.bank and batch.indices is not None else None

        def inner() -> Tensor:
            answers = [network(images) for network in self.networks]
            features = (exits.features.detach() if config.lambda_detach_inner else exits.features for exits in answers)
            if rows:
                rows.restore()
            loss = sum_terms(self.contrastive(answers, labels, matching(*features), slots))
            if rows:
                self.after_step(progress)
                rows.keep()
            return loss

        def outer() -> Tensor:
            return cross_entropy_of_exits([network(images) for network in self.networks], labels)

        lookahead = Lookahead(
            [*self.networks.parameters(), *self.embeddings.parameters()],
            [*self.networks.buffers(), *([rows.values] if rows else [])],
            progress.rate,
            config.meta_momentum,
            config.meta_weight_decay,
            coupling=1.0 if config.adjoint == "released" else None,
        )
        gradients = lookahead.hypergradient([inner] * INNER_STEPS + [outer], outer, list(matching.parameters()))
        matching.step(gradients, progress.rate, config.meta_momentum, config.meta_weight_decay)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of all heads."""
        answers = [network(images) for network in self.networks]
        final = torch.stack([exits.logits[-1] for exits in answers])
        auxiliary = [logits for exits in answers for logits in exits.logits[:-1]]
        aggregated = self.aggregate(answers) if self.aggregators else ()
        return self.named((*final, final.mean(dim=0), *auxiliary, *aggregated))


def auxiliary_exits(build: Build, index: int, parts: Parts, kind: str) -> list[AuxiliaryExit]:
    """Return the auxiliary exits of network ``index``, each with weights of its own."""
    if kind == "light":
        return build.light_exits(index + NETWORKS)
    # Networks index, index + 2, index + 4, ... are of one architecture.
    after = range(1, len(parts.stages)) if kind == "all" else ()
    return [AuxiliaryExit(each, Branch(build(index + NETWORKS * each), each)) for each in after]


def cross_entropy_of_exits(answers: Sequence[Exits], labels: Tensor) -> Tensor:
    """Return the sum over all exits of both networks, 0-d."""
    return torch.stack([cross_entropies(exits.logits, labels).sum() for exits in answers]).sum()

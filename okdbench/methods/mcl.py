"""MCL: mutual contrastive learning of visual representations (Yang et al., AAAI 2022, arXiv 2104.12565)."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from okdbench.config import Few
from okdbench.methods.base import Batch, Build, CodeDifference, Progress, needs_one_network
from okdbench.methods.parts.bank import BankMethod, bank_contrast
from okdbench.methods.parts.contrastive import ContrastiveConfig, Embedding, contrast
from okdbench.methods.parts.losses import cross_entropies, distillation
from okdbench.methods.parts.peers import peer_heads, stack_logits
from okdbench.networks import Architecture, Branched, Separate

OWN_STAGES = 2
"""The number of stages that each branch of MCL owns, of three (four on ImageNet), wherever other methods split."""


class MCLConfig(ContrastiveConfig):
    """Hyper-parameters of MCL.

    ``paper`` is "MCL (x2)" of the authors' README, two networks; ``x4`` is "MCL (x4)", four branches of one network.
    The README does not say that the two differ in structure. ``ce`` has no distillation: what the authors run as their
    baseline, two networks on class-aware batches.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "x4": {"peers": 4, "structure": "branched"},
        "ce": {"alpha": 0.0, "beta": 0.0, "gamma": 0.0, "lam": 0.0},
    }
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "x2 and x4",
            "",
            "x2 are two networks, x4 is one network with four branches",
            "MCL 236da2f",
            "all MCL numbers",
        ),
        CodeDifference(
            "target of logit distillation on ImageNet",
            "",
            "the mean of all logits, through which gradient flows into every branch",
            "MCL 236da2f",
            "ImageNet, x4 with logit distillation",
        ),
        CodeDifference(
            "evaluated network",
            "",
            "the best network at the best epoch, chosen on the test set; on ImageNet at the last epoch, since the "
            "best is forgotten at every epoch",
            "MCL 236da2f",
            "all MCL numbers",
        ),
        CodeDifference(
            "baseline",
            "a single network",
            "two networks on class-aware batches, the better one",
            "MCL 236da2f",
            "CIFAR-100, column Baseline",
        ),
    )
    peers: Few = Field(default=2, ge=2, description="K")
    structure: Literal["independent", "branched"] = Field(
        default="independent", description="separate networks, or branches that share all but the last two stages"
    )
    logit_kd: Literal["off", "all", "last"] = Field(
        default="off", description="which peers also learn from the mean of all logits (the code: all of 2, last of 4)"
    )
    kd_target_detach: bool = Field(
        default=True, description="that mean is constant; in the ImageNet code gradient flows through it into all peers"
    )


class MCL(BankMethod[MCLConfig]):
    """Peers that contrast images within and across their embeddings, and mimic one another's contrasts."""

    name = "mcl"
    title = "MCL"
    paper = "Mutual Contrastive Learning for Visual Representation Learning, Yang et al., AAAI 2022"
    year = 2022
    deployed = "peer0"

    def __init__(self, build: Build, config: MCLConfig) -> None:
        super().__init__(build, config)
        self.images_per_class, self.banks = config.images_per_class, config.peers
        parts = build.several(config.peers)
        self.network: Branched | Separate
        if config.structure == "branched":
            self.network = Branched(parts, "independent", len(parts[0].stages) - OWN_STAGES)
        else:
            self.network = Separate(parts)
        with build.keyed_init():
            widths = [each.feature_dim for each in parts] if config.contrasts else []
            self.embeddings = nn.ModuleList(Embedding(width, config.embedding) for width in widths)

    @classmethod
    def pair_obstacle(cls, config: MCLConfig, architectures: Sequence[Architecture]) -> str | None:
        """Return the reason if branches are of two networks."""
        return needs_one_network("MCL with branches", architectures) if config.structure == "branched" else None

    def heads(self) -> tuple[str, ...]:
        """Return every peer, and the mean of their logits."""
        return (*peer_heads(self.config.peers), "ensemble")

    def terms(
        self, features: list[Tensor], logits: Tensor, labels: Tensor, slots: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the weighted terms, 0-d, from K penultimate features [B, D_i], logits [K, B, C] and labels [B].

        VCL is summed over the peers, the terms of pairs over all ordered ones: nothing is divided by their number.
        With ``slots`` of the memory banks images are contrasted with these, else with one another.
        """
        config = self.config
        terms = {"ce": cross_entropies(logits, labels).sum()}
        if config.logit_kd != "off":
            students = logits if config.logit_kd == "all" else logits[-1:]
            mean = logits.mean(dim=0).expand_as(students)
            target = mean.detach() if config.kd_target_detach else mean
            terms["kd"] = distillation(students, target, config.temperature).sum()
        if config.contrasts:
            heads = zip(self.embeddings, features, strict=True)
            embedded = torch.stack([head(feature) for head, feature in heads])
            if self.bank and slots is not None:
                self.note(slots, embedded)
                rows = bank_contrast(self.bank.similarities(slots, embedded, config.tau), config.temperature)
            else:
                rows = contrast(embedded, labels, config)
            pairs = 1.0 - torch.eye(config.peers, dtype=logits.dtype, device=logits.device).unsqueeze(-1)
            terms |= config.weighted(rows.total(torch.ones_like(pairs[0]), pairs))
        return terms

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """sum_m CE_m + alpha VCL + beta ICL + gamma Soft-VCL + lam Soft-ICL (+ KD from the mean of the logits)."""
        traces = self.network(batch.views)
        logits = stack_logits(traces)
        features = [trace.features for trace in traces]
        return self.terms(features, logits, batch.labels, self.slots(batch, progress))

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of every peer and their mean."""
        logits = stack_logits(self.network([images]))
        return self.named((*logits, logits.mean(dim=0)))

"""AHBF-OKD: adaptive hierarchy-branch fusion (Gong et al., AAAI 2023, doi 10.1609/aaai.v37i6.25937)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from okdbench.config import Count, Few
from okdbench.methods.base import Batch, Build, CodeDifference, Method, MethodConfig, Progress
from okdbench.methods.parts.fusion import Fused
from okdbench.methods.parts.gate import Gate, mixed
from okdbench.methods.parts.losses import cross_entropies, distillation
from okdbench.methods.parts.peers import peer_heads, stack_logits
from okdbench.methods.parts.schedules import ramp_up
from okdbench.networks import Architecture, Branched, Parts, Trace
from okdbench.networks.base import kaiming_convolutions
from okdbench.networks.counting import late_depths

_BOTH = "AHBF ecb8b2c and 8d41235"
_EVERY_NUMBER = "all AHBF-OKD numbers"


class AHBFConfig(MethodConfig):
    """Hyper-parameters of AHBF-OKD.

    ``paper`` is what can be told of the paper, whose text is not readable here: two kinds of teaching, of which that
    of the assistants counts twice as much. ``first`` and ``head`` are the defaults of the authors' code at its first
    and its last commit, ``released`` the command of the README, as it works at the first one.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "released": {"lambda_assistant": 2.0, "lambda_branch": 4.0, "teach_branch": True},
        "first": {"lambda_assistant": 1.0, "lambda_branch": 1.0, "teach_branch": True},
        "head": {
            "lambda_assistant": 1.0,
            "lambda_branch": 1.0,
            "teach_branch": True,
            "added": 2,
            "weight": 1.5,
            "ramp_epochs": 240,
            "ramp_factor": 0.5,
        },
    }
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "the code does not run as published",
            "",
            "the package cannot be imported, since it exports a name that does not exist; CIFAR ResNets fail for a "
            "missing argument (first commit) or a fusion class that was never published (head); ImageNet ResNets are "
            "called with an argument that they do not take",
            _BOTH,
            _EVERY_NUMBER,
        ),
        CodeDifference(
            "what an assistant teaches",
            "the assistant before it, as its branch does (abstract)",
            "its own branch as well, under the same weight",
            _BOTH,
            _EVERY_NUMBER,
        ),
        CodeDifference(
            "loss weights and branches",
            "4 blocks more from branch to branch; lambdas 4 and 2, by others' notes",
            "first commit: 4 blocks, weights 1 and 1, ramp-up over all 300 epochs; README: 2 and 4; head: 2 blocks, 1 "
            "and 1, times 0.75, ramp-up of 240 epochs",
            _BOTH,
            _EVERY_NUMBER,
        ),
        CodeDifference(
            "branches of MobileNetV2",
            "deeper and deeper",
            "all branches run two of the three late stages of the first, so that only the last one is deeper",
            _BOTH,
            "MobileNetV2",
        ),
        CodeDifference(
            "baseline",
            "",
            "the script's ResNet-32 has 5, 4 and 5 blocks, where the target branch has 5, 5 and 5, and other "
            "milestones; its VGG has no dropout, where the branches have 0.5",
            _BOTH,
            "gains over the baseline",
        ),
        CodeDifference(
            "learning rate",
            "",
            "the scheduler is stepped before each epoch: with torch from 1.1 on it falls one epoch early",
            _BOTH,
            _EVERY_NUMBER,
        ),
    )
    peers: Few = Field(default=4, ge=2, description="M, branches; the first is the network to deploy")
    added: Count = Field(
        default=4, ge=0, description="blocks that each branch has more than the one before; 0: equal branches"
    )
    own_stages: Few | None = Field(
        default=None, ge=1, description="late stages of each branch, which blocks are added to in turn; null: as usual"
    )
    gate: Literal["learned", "mean"] = Field(
        default="learned", description="how an assistant mixes the logits of the one before and of its branch"
    )
    temperature: float = Field(default=3.0, gt=0)
    lambda_assistant: float = Field(default=4.0, ge=0, description="weight of what the assistants teach")
    lambda_branch: float = Field(default=2.0, ge=0, description="weight of what the branches teach")
    teach_branch: bool = Field(default=False, description="an assistant also teaches its own branch")
    weight: float = Field(default=1.0, ge=0, description="final weight of all distillation, before ramp_factor")
    ramp_epochs: Count = Field(default=300, ge=0, description="length of the ramp-up of distillation; 0: none")
    ramp_factor: float = Field(default=1.0, ge=0, description="a factor on the ramp-up")
    detach: bool = Field(default=False, description="targets are constants")
    epsilon: float = Field(default=1e-7, ge=0, description="added to every target probability")


class Assistant(nn.Module):
    """Merges the map and logits of the assistant before with those of a branch into its own."""

    def __init__(self, before: int, parts: Parts) -> None:
        super().__init__()
        channels = parts.feature_dim
        self.convolution = nn.Conv2d(before + channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        self.gate = Gate(channels, 2)
        kaiming_convolutions(self)
        if parts.initialise:
            parts.initialise(self.gate.linear)

    def forward(self, before: Fused, branch: Trace) -> Fused:
        """Return the merged map, as wide as the branch's, and the gated logits."""
        map = self.norm(self.convolution(torch.cat([before.map, branch.final], dim=1)))
        return Fused(map, mixed(torch.stack([before.logits, branch.logits]), self.gate(map)))


class AHBF(Method[AHBFConfig]):
    """Branches of one trunk that get deeper and deeper; assistants merge them one by one and teach the shallower ones.

    Assistant 0 is branch 0 itself; assistant i merges assistant i - 1 with branch i.
    """

    name = "ahbf"
    title = "AHBF-OKD"
    paper = "Adaptive Hierarchy-Branch Fusion for Online Knowledge Distillation, Gong et al., AAAI 2023"
    year = 2023
    deployed = "peer0"

    def __init__(self, build: Build, config: AHBFConfig) -> None:
        super().__init__(build, config)
        first = build(0)
        split = len(first.stages) - config.own_stages if config.own_stages else first.split
        networks = [first]
        for index in range(1, config.peers):
            with build.keyed_init(index):
                networks.append(deeper(first, split, index, config.added))
        self.network = Branched(networks, "independent", split)
        self.assistants = nn.ModuleList()
        if config.gate == "learned":
            with build.keyed_init():
                self.assistants.extend(Assistant(before.feature_dim, own) for before, own in pairwise(networks))

    @classmethod
    def obstacle(cls, config: AHBFConfig, architectures: Sequence[Architecture]) -> str | None:
        """Return the reason also where a network's late stages cannot be deeper, or are fewer than branches own."""
        depths = late_depths(architectures[0])
        if depths is None:
            return f"{architectures[0].name} cannot have late stages of another depth, which deeper branches need"
        if config.own_stages and config.own_stages > len(depths):
            has = f"{architectures[0].name} has {len(depths)} stages, and branches own {config.own_stages}"
            return f"{has}; set ahbf.own_stages: {len(depths)}, or less"
        return super().obstacle(config, architectures)

    def heads(self) -> tuple[str, ...]:
        """Return the branches, the last assistant, which has merged all, and the assistants before it."""
        between = tuple(f"assistant{index}" for index in range(1, self.config.peers - 1))
        return (*peer_heads(self.config.peers), "ensemble", *between)

    def schedule(self, epoch: int, epochs: int) -> dict[str, float]:
        """k w(e): the weight of the distillation terms."""
        config = self.config
        return {"distillation": config.weight * config.ramp_factor * ramp_up(epoch, config.ramp_epochs)}

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the branches [M, B, C], and of assistants 1 to M - 1, [M - 1, B, C]."""
        traces = self.network([images])
        logits = stack_logits(traces)
        if not self.assistants:
            running = [logits[0]]
            for own in logits[1:]:
                running.append((running[-1] + own) / 2)
            return logits, torch.stack(running[1:])
        fused = [Fused(traces[0].final, traces[0].logits)]
        for assistant, trace in zip(self.assistants, traces[1:], strict=True):
            fused.append(assistant(fused[-1], trace))
        return logits, torch.stack([each.logits for each in fused[1:]])

    def terms(self, logits: Tensor, assistants: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """CE of the branches [M] and assistants [M - 1]; what assistants and branches teach, weighted, [M - 1] each.

        ``logits`` [M, B, C] are the branches', ``assistants`` [M - 1, B, C] those of the assistants 1 to M - 1.
        """
        config = self.config
        taught = torch.cat([logits[:1], assistants[:-1]])
        own = logits[1:]
        of_assistants, of_branches = (each.detach() if config.detach else each for each in (assistants, own))

        def teach(students: Tensor, teachers: Tensor) -> Tensor:
            return distillation(students, teachers, config.temperature, epsilon=config.epsilon)

        assisted = teach(taught, of_assistants)
        if config.teach_branch:
            assisted = assisted + teach(own, of_assistants)
        return {
            "ce": cross_entropies(logits, labels),
            "ce_assistants": cross_entropies(assistants, labels),
            "kl_assistants": config.lambda_assistant * assisted,
            "kl_branches": config.lambda_branch * teach(taught, of_branches),
        }

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """CE of all + k w(e) (lambda_assistant sum of what assistants teach + lambda_branch sum of the branches')."""
        terms = self.terms(*self.logits(batch.views[0]), batch.labels)
        weight = progress.weights["distillation"]
        return {name: (weight * term if name.startswith("kl") else term).sum() for name, term in terms.items()}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of all heads."""
        logits, assistants = self.logits(images)
        return self.named((*logits, assistants[-1], *assistants[:-1]))


def deeper(parts: Parts, split: int, index: int, added: int) -> Parts:
    """Return a fresh network for branch ``index``: ``index`` times ``added`` blocks more in the stages from ``split``
    on, which get them in turn, the earliest first.
    """
    late = parts.late
    assert late is not None
    depths = list(late.depths)
    for turn in range(index):
        depths[split + turn % (len(depths) - split)] += added
    return late.build(tuple(depths), 1)

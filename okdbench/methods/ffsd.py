"""FFSD: distilling a powerful student model via online knowledge distillation (Li et al., TNNLS, arXiv 2103.14473).

Feature fusion and self-distillation: common students learn from one another, a leader from the fusion of their maps.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from okdbench.config import Count, Few, Schedule
from okdbench.methods.base import Batch, Build, CodeDifference, Method, ParameterGroup, Progress
from okdbench.methods.parts.fusion import (
    FusionConfig,
    FusionModule,
    SelfDistillation,
    attention,
    attention_loss,
    attention_losses,
    fusion_groups,
    separable_block,
    stage_maps,
    unit,
)
from okdbench.methods.parts.losses import cross_entropies, distillation, mean_off_diagonal, pairwise_distillation
from okdbench.methods.parts.peers import peer_heads, stack_logits
from okdbench.methods.parts.schedules import ramp_up
from okdbench.networks import Separate, Single, Trace
from okdbench.networks.counting import network_shapes

Maps = Sequence[Tensor]
"""One network's maps [B, C, H, W], the shallowest first."""


class FFSDConfig(FusionConfig):
    """Hyper-parameters of FFSD.

    Of the paper only abstract and framework figure are read here. ``paper`` follows them: shallow layers mimic pseudo
    maps made from the *same* network's deepest map, and there is no TransFusion head. ``released`` is the authors'
    code, and with it the numbers of their README: shallow layers mimic pseudo maps made from the shifted map of the
    student before (for the leader, from the fused map), and a TransFusion head on the leader predicts the maps that are
    fused.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "released": {"sd_source": "other", "transfusion": True},
    }
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "what shallow layers mimic",
            "maps made of the network's own deeper ones",
            "attention maps only, made of the previous student's shifted map, or of the fused one",
            "FFSD d5cfda9",
            "all FFSD numbers",
        ),
        CodeDifference(
            "TransFusion head",
            "not in the framework figure",
            "predicts the maps that are fused, with the leader's other terms",
            "FFSD d5cfda9",
            "all FFSD numbers",
        ),
        CodeDifference(
            "evaluated network",
            "",
            "the leader at its best epoch, chosen on the test set",
            "FFSD d5cfda9",
            "all FFSD numbers",
        ),
        CodeDifference(
            "scripts for ImageNet",
            "",
            "do not run: two of their options are not defined",
            "FFSD d5cfda9",
            "ImageNet",
        ),
    )
    peers: Few = Field(default=2, ge=2, description="K, common students beside the leader")
    temperature: float = Field(default=2.0, gt=0)
    lambda_diversity: float = Field(
        default=1e-5, ge=0, description="weight of the common students' diversity and self-distillation"
    )
    lambda_fusion: float = Field(default=10.0, ge=0, description="weight of all attention terms of the leader")
    lambda_sd: float = Field(
        default=1000.0, ge=0, description="weight of the self-distillation modules' own losses; Adam all but ignores it"
    )
    ramp_epochs: Count = Field(default=5, ge=0, description="epochs, from 1 on, in which the lambdas rise; 0: none")
    sd_source: Literal["own", "other"] = Field(
        default="own",
        description="what the pseudo maps are made from: the network's own deepest map, or the shifted one of the"
        " student before, and for the leader the fused map",
    )
    transfusion: bool = Field(default=False, description="the leader also predicts the maps that are fused")
    sd_schedule: Schedule | None = Field(
        default=None, description="of the self-distillation modules' rate; null: the run's"
    )
    shift_norm: Literal["attention", "unit"] = Field(
        default="attention",
        description="the length from which the attention shift subtracts: the attention map's, as in the code,"
        " or 1, that of the map that it is subtracted from",
    )


class Shift(NamedTuple):
    """A map's attention at length 1 [B, HW], its length r before [B, 1], and the diversity target g [B, HW]."""

    attention: Tensor
    length: Tensor
    target: Tensor


def shift(map: Tensor, norm: str = "attention") -> Shift:
    """Attention moved to the positions of the map [B, C, H, W] that get little.

    The lowest third of the positions keeps its value a, the highest of that third gets r/2, all others get r - a, as
    in the authors' code; that mixes a, of length 1, with r, which is not (norm ``unit``: 1 in place of r).
    """
    flat = attention(map).flatten(1)
    length = flat.norm(dim=1, keepdim=True)
    values = unit(flat)
    third = max(1, values.shape[1] // 3)
    threshold = values.topk(third, dim=1, largest=False).values[:, -1:]
    top = length if norm == "attention" else torch.ones_like(length)
    return Shift(values, length, (top / 2 - values) * torch.sign(values - threshold) + top / 2)


def diversity(map: Tensor, previous: Tensor, norm: str = "attention") -> Tensor:
    """DIV: mean square distance of the attention of a map from the shifted one of the previous student's, 0-d."""
    return (unit(attention(map)) - shift(previous, norm).target).square().mean()


def shifted(map: Tensor, norm: str = "attention") -> Tensor:
    """Return the map [B, C, H, W] with (g - a) r / C added to all channels."""
    moved = shift(map, norm)
    added = (moved.target - moved.attention) * moved.length / map.shape[1]
    return map + added.view(len(map), 1, *map.shape[2:])


class FFSD(Method[FFSDConfig]):
    """Common students that differ from one another, and a leader that learns from their fused maps and is deployed.

    The leader is network 0, so that the deployed network starts from the same weights as under other methods.
    """

    name = "ffsd"
    title = "FFSD"
    paper = "Distilling a Powerful Student Model via Online Knowledge Distillation, Li et al., TNNLS 2022"
    year = 2022
    deployed = "leader"

    def __init__(self, build: Build, config: FFSDConfig) -> None:
        super().__init__(build, config)
        peers = config.peers
        self.leader = Single(build(0))
        self.students = Separate(build.several(peers, first=1))
        shapes = network_shapes(build.architectures[0])
        final = shapes.final
        with build.keyed_init(0):
            self.fusion = FusionModule(final.channels, peers, build.classes)
        self.distillers = nn.ModuleList()
        for index in range(peers):  # for each student but the first, and the leader
            with build.keyed_init(1 + index):
                self.distillers.append(SelfDistillation((*shapes.taps[:-1], final)))
        self.transfusion: nn.Module | None = None
        if config.transfusion:
            with build.keyed_init(1 + peers):
                self.transfusion = separable_block(final.channels, peers * final.channels)

    def heads(self) -> tuple[str, ...]:
        """Return the common students, the leader, the fused classifier and the mean of the common students' logits."""
        return (*peer_heads(self.config.peers), "leader", "fused", "ensemble")

    def schedule(self, epoch: int, epochs: int) -> dict[str, float]:
        """Return the three lambdas; they rise with exp(-5 (1 - e/L)^2), e counted from 1."""
        config = self.config
        factor = ramp_up(epoch + 1, config.ramp_epochs)
        return {
            "diversity": factor * config.lambda_diversity,
            "fusion": factor * config.lambda_fusion,
            "sd": factor * config.lambda_sd,
        }

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the networks, the fusion module with its own weight decay, the self-distillation modules with Adam."""
        modules = list(self.distillers.parameters())
        schedule = self.config.sd_schedule
        adam = ParameterGroup(modules, optimizer="adam", lr=1e-3, weight_decay=1e-4, schedule=schedule)
        return [*fusion_groups(self, self.fusion, self.config, apart=self.distillers), adam]

    def terms(self, leader: Trace, students: Sequence[Trace], labels: Tensor) -> dict[str, Tensor]:
        """Unweighted terms: those of the common students as vectors of one per student, the others 0-d.

        No term's gradient reaches the networks or modules of another: the target of a term is constant.
        """
        temperature = self.config.temperature
        logits = stack_logits(students)
        maps, own = [stage_maps(trace) for trace in students], stage_maps(leader)
        fused = self.fusion([map[-1].detach() for map in maps])
        fused_logits = fused.logits.detach()
        terms = {
            "ce": cross_entropies(logits, labels),
            "kl": mean_off_diagonal(pairwise_distillation(logits, logits.detach(), temperature)),
            "ce_fused": cross_entropies(fused.logits[None], labels)[0],
            "kl_fused": distillation(fused.logits, logits.detach().mean(dim=0), temperature),
            "ce_leader": cross_entropies(leader.logits[None], labels)[0],
            "kl_leader": distillation(leader.logits, fused_logits, temperature),
        }
        # The modules' own terms come last: they move the running statistics that the others use.
        return {
            **terms,
            **self._student_terms(maps),
            **self._leader_terms(own, maps, fused.map.detach()),
            **self._module_terms([*maps[1:], own]),
        }

    def _student_terms(self, maps: Sequence[Maps]) -> dict[str, Tensor]:
        """DIV and self-distillation of every common student but the first, [K - 1]."""
        norm, own = self.config.shift_norm, self.config.sd_source == "own"
        diversities, losses = list[Tensor](), list[Tensor]()
        for distiller, map, before in zip(self.distillers, maps[1:], maps, strict=False):
            previous = before[-1].detach()
            diversities.append(diversity(map[-1], previous, norm))
            losses.append(self_distillation(distiller, map, map[-1] if own else shifted(previous, norm)))
        return {"diversity": torch.stack(diversities), "sd": torch.stack(losses)}

    def _leader_terms(self, own: Maps, maps: Sequence[Maps], fused: Tensor) -> dict[str, Tensor]:
        """Return the leader's attention terms, 0-d."""
        source = own[-1] if self.config.sd_source == "own" else fused
        terms = {
            "fusion_leader": attention_losses(own[-1:], [fused]),
            "sd_leader": self_distillation(self.distillers[-1], own, source),
        }
        if self.transfusion:
            together = torch.cat([map[-1] for map in maps], dim=1).detach()
            terms["transfusion_leader"] = attention_losses([self.transfusion(own[-1])], [together])
        return terms

    def _module_terms(self, maps: Sequence[Maps]) -> dict[str, Tensor]:
        """`module_losses` of every self-distillation module, [K] each."""
        losses = [module_losses(distiller, own) for distiller, own in zip(self.distillers, maps, strict=True)]
        whole, attentions = (torch.stack(terms) for terms in zip(*losses, strict=True))
        return {"modules": whole, "modules_attention": attentions}

    def combine(self, terms: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the terms times their lambdas; CE and KL terms have weight 1."""
        factors = {
            "diversity": weights["diversity"],
            "sd": weights["diversity"],
            "fusion_leader": weights["fusion"],
            "sd_leader": weights["fusion"],
            "transfusion_leader": weights["fusion"],
            "modules": weights["sd"],
            "modules_attention": weights["sd"],
        }
        return {name: factors[name] * term if name in factors else term for name, term in terms.items()}

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The weighted terms, summed over the networks that have them."""
        leader, students = self.leader.trace(batch.views[0]), self.students(batch.views)
        terms = self.combine(self.terms(leader, students, batch.labels), progress.weights)
        return {name: term.sum() for name, term in terms.items()}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of all heads."""
        students = self.students([images])
        logits = stack_logits(students)
        fused = self.fusion([trace.final for trace in students]).logits
        return self.named((*logits, self.leader(images), fused, logits.mean(dim=0)))


def self_distillation(distiller: nn.Module, maps: Maps, source: Tensor) -> Tensor:
    """sum_l AL(A(F_l), A(pseudo map l)) over the shallow maps, 0-d.

    The pseudo maps are made from ``source`` with the module's running statistics, and are constants.
    """
    with torch.no_grad():
        pseudo = distiller(source, frozen=True)
    return attention_losses(maps[:-1], pseudo)


def module_losses(distiller: nn.Module, maps: Maps) -> tuple[Tensor, Tensor]:
    """Return the losses of a self-distillation module, which makes the shallow maps, and their attention, of the
    deepest one.

    sum_l AL(pseudo map l, F_l) and sum_l AL(A(pseudo map l), A(F_l)), 0-d; the maps are constants.
    """
    *targets, deepest = (map.detach() for map in maps)
    pseudo = distiller(deepest)
    whole = [attention_loss(made, target) for made, target in zip(pseudo, targets, strict=True)]
    return torch.stack(whole).sum(), attention_losses(pseudo, targets)

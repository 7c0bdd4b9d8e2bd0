"""DCCL: deep cross-layer collaborative learning network for online knowledge distillation (TCSVT 33(5), 2023)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from okdbench.config import Count
from okdbench.methods.base import Batch, Build, CodeDifference, Method, ParameterGroup, Progress, needs_one_network
from okdbench.methods.parts.fusion import Fused, FusionConfig, FusionModule, different_shapes, fusion_groups
from okdbench.methods.parts.losses import cross_entropies, distillation
from okdbench.methods.parts.peers import peer_heads, stack_logits
from okdbench.methods.parts.schedules import ramp_up
from okdbench.networks import Architecture, Parts, Separate, Trace
from okdbench.networks.base import kaiming_convolutions
from okdbench.networks.counting import MapShape, network_shapes

PEERS = 2


class DCCLConfig(FusionConfig):
    """Hyper-parameters of DCCL.

    The paper is not openly available: ``paper`` is its abstract with the code's losses. ``released`` is the authors'
    code, which never lowers the fusion module's learning rate and adds 1e-7 to every target probability; in the
    feature terms, with one target over thousands of activations, the effect is not small (+3.7% on 16384).
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "released": {"fusion_scheduled": False, "epsilon": 1e-7},
    }
    differences: ClassVar[tuple[CodeDifference, ...]] = (
        CodeDifference(
            "rate of the fusion module",
            "",
            "stays at 0.1: its schedule is commented out",
            "DCCL b1fbd85",
            "all numbers of that code",
        ),
        CodeDifference(
            "WRN-20-8",
            "",
            "cannot be built: depths are 16, 22, 28 and 40",
            "DCCL b1fbd85",
            "CMFF's README, WRN-20-8, since its code is built on this one",
        ),
        CodeDifference(
            "VGG-16 and VGG-19",
            "16 and 19 layers",
            "14 and 18 convolutions",
            "DCCL b1fbd85",
            "CMFF's README, VGG-16",
        ),
    )
    temperature: float = Field(default=3.0, gt=0)
    ramp_epochs: Count = Field(default=80, ge=0, description="length of the ramp-up of distillation; 0: none")
    features: Literal["all", "channel", "spatial", "off"] = Field(
        default="all",
        description="the feature terms compare a softmax over all activations of a map, over its channels (at each"
        " position) or over its positions (in each channel), or are left out",
    )
    share_ends: bool = Field(default=False, description="both networks have one stem and one classifier")
    fusion_scheduled: bool = Field(
        default=True, description="the fusion module's learning rate follows the schedule; false: it stays"
    )
    epsilon: float = Field(default=0.0, ge=0, description="added to every target probability")


class Integration(nn.Module):
    """Adds learned projections of all shallower maps to each map of a network.

    A projection is a convolution whose kernel and stride are the ratio of the sizes, BN and ReLU. Where a network
    normalises its map only in the end (``raw``: the stages of a WRN), a further BN comes first.
    """

    def __init__(self, shapes: Sequence[MapShape], *, raw: bool) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            nn.ModuleList(map_projection(source, target, raw=raw) for source in shapes[:index])
            for index, target in enumerate(shapes)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """G^t = F^t + sum over s < t of P_s->t(F^s), as large as F^t [B, C, H, W]."""
        integrated = list[Tensor]()
        for map, shallower in zip(maps, self.projections, strict=True):
            for source, project in zip(maps, shallower, strict=False):  # type: ignore[call-overload]
                map = map + project(source)
            integrated.append(map)
        return integrated


def map_projection(source: MapShape, target: MapShape, *, raw: bool) -> nn.Sequential:
    """Return a projection from the shape of a shallow map to that of a deeper one."""
    ratio = source.side // target.side
    convolution = nn.Conv2d(source.channels, target.channels, ratio, ratio, bias=False)
    if not raw:  # the authors' WRN leaves its convolutions as torch draws them
        kaiming_convolutions(convolution)
    first = [nn.BatchNorm2d(source.channels)] if raw else []
    return nn.Sequential(*first, convolution, nn.BatchNorm2d(target.channels), nn.ReLU())


class DCCL(Method[DCCLConfig]):
    """Two networks match predictions and maps that integrate their shallower ones; a fused classifier takes part."""

    name = "dccl"
    title = "DCCL"
    paper = "Deep Cross-layer Collaborative Learning Network for Online Knowledge Distillation, TCSVT 2023"
    year = 2023
    deployed = "peer0"

    def __init__(self, build: Build, config: DCCLConfig) -> None:
        super().__init__(build, config)
        shapes = network_shapes(build.architectures[0])
        networks = build.several(PEERS)
        if config.share_ends:
            networks = with_shared_ends(networks)
        self.network = Separate(networks)
        with build.keyed_init():
            self.fusion = FusionModule(shapes.final.channels, PEERS, build.classes)
        self.integrations = nn.ModuleList()
        if config.features != "off":
            for index, network in enumerate(networks):
                with build.keyed_init(1 + index):
                    raw = not isinstance(network.head.neck, nn.Identity)
                    self.integrations.append(Integration(shapes.taps, raw=raw))

    @classmethod
    def pair_obstacle(cls, config: DCCLConfig, architectures: Sequence[Architecture]) -> str | None:
        """Return the reason if networks with shared ends differ, or the maps of others differ in shape."""
        if obstacle := different_shapes("DCCL", architectures):
            return obstacle
        return needs_one_network("DCCL with shared ends", architectures) if config.share_ends else None

    def heads(self) -> tuple[str, ...]:
        """Return the networks, the fused classifier and the mean of the networks' logits."""
        return (*peer_heads(PEERS), "fused", "ensemble")

    def schedule(self, epoch: int, epochs: int) -> dict[str, float]:
        """w(e): the weight of the distillation terms."""
        return {"distillation": ramp_up(epoch, self.config.ramp_epochs)}

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the networks with their projections, and the fusion module with its own weight decay and rate."""
        networks, fusion = fusion_groups(self, self.fusion, self.config)
        return [networks, replace(fusion, scheduled=self.config.fusion_scheduled)]

    def fuse(self, traces: Sequence[Trace]) -> Fused:
        """Return the fused map and its logits."""
        return self.fusion([trace.final for trace in traces])  # type: ignore[no-any-return]

    def integrate(self, traces: Sequence[Trace]) -> list[Tensor]:
        """G^t of both networks for every stage t, [2, B, C, H, W] each."""
        integrated = [integrate(trace.taps) for integrate, trace in zip(self.integrations, traces, strict=False)]
        return [torch.stack(maps) for maps in zip(*integrated, strict=True)]

    def terms(self, logits: Tensor, fused: Tensor, integrated: Sequence[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Unweighted terms, from logits [2, B, C], the fused classifier's [B, C] and `integrate`'s maps.

        Each is [2], one per network k, j being the other: CE_k; D(z_k <- z_j); D(G_k^t <- G_j^t), [stages, 2];
        D(z_k <- z_f); D(z_f <- z_k); and CE of the fused classifier, 0-d.
        """
        config = self.config

        def mimic(student: Tensor, teacher: Tensor) -> Tensor:
            return distillation(student, teacher.detach(), config.temperature, epsilon=config.epsilon)

        terms = {
            "ce": cross_entropies(logits, labels),
            "ce_fused": cross_entropies(fused[None], labels)[0],
            "kl": mimic(logits, logits.flip(0)),
            "kl_from_fused": mimic(logits, fused.expand_as(logits)),
            "kl_fused": mimic(fused.expand_as(logits), logits),
        }
        if integrated:
            rows = [activations(maps, config.features) for maps in integrated]
            terms["features"] = torch.stack([mimic(row, row.flip(0)) for row in rows])
        return terms

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Cross-entropies, and everything else times w."""
        traces = self.network(batch.views)
        logits = stack_logits(traces)
        terms = self.terms(logits, self.fuse(traces).logits, self.integrate(traces), batch.labels)
        weight = progress.weights["distillation"]
        summed = {name: term.sum() for name, term in terms.items()}
        return {name: term if name.startswith("ce") else weight * term for name, term in summed.items()}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits of all heads; the projections take no part."""
        traces = self.network([images])
        logits = stack_logits(traces)
        return self.named((*logits, self.fuse(traces).logits, logits.mean(dim=0)))


def with_shared_ends(networks: Sequence[Parts]) -> list[Parts]:
    """Return the networks with the first one's stem and classifier, one module each that runs once per network."""
    first, *others = networks
    for parts in others:
        parts.head.classifier = first.head.classifier
    return [first, *(replace(parts, stem=first.stem) for parts in others)]


def activations(maps: Tensor, over: str) -> Tensor:
    """Return maps [m, B, C, H, W] as rows [m, rows, D]; a softmax ``over`` all, channel or spatial is over D."""
    match over:
        case "channel":
            return maps.permute(0, 1, 3, 4, 2).flatten(1, 3)
        case "spatial":
            return maps.flatten(3).flatten(1, 2)
    return maps.flatten(2)

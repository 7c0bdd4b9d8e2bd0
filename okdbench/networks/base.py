"""The parts of every network, and the wirings that methods share.

An architecture builds `Parts`: a stem, a list of stages and a head. `Single` joins them into one plain network,
`Branched` shares the early stages (the trunk) between several copies of the late ones (the branches), and `Separate`
shares nothing, so taps and splits exist once, here.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from okdbench.networks.precision import LowPrecisionModule, separate_views, side_by_side, to_float32


class ClassifierHead(nn.Module):
    """From the last stage's map to logits: ``neck`` (final BN + ReLU, if the network has them), pooling, classifier.

    ``features`` [B, D] are what papers call the penultimate feature h: pooled (or flattened) and not yet classified.
    """

    def __init__(self, classifier: nn.Module, feature_dim: int, neck: nn.Module | None = None) -> None:
        super().__init__()
        self.neck = neck or nn.Identity()
        self.classifier = classifier
        self.feature_dim = feature_dim

    def features(self, final: Tensor) -> Tensor:
        """Return the global average of the map [B, C, H, W] that the neck leaves: [B, C]."""
        return final.mean(dim=(2, 3))

    def forward(self, map: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the final map [B, C, H, W] (the output of the neck), features [B, D] and logits [B, classes]."""
        final = self.neck(map)
        features = self.features(final)
        return final, features, self.classifier(features)


@dataclass(frozen=True)
class Late:
    """How the late stages of a network are built other than its own: deeper, shallower or wider.

    ``depths`` are the network's own numbers of blocks (layers, convolutions), one for each stage, ``thinned`` those of
    auxiliary classifiers that authors made shallower, None where no code has any. ``build(depths, widening)`` returns a
    fresh network with these numbers of blocks, whose last stage is ``widening`` times as wide and whose head fits that.
    """

    depths: tuple[int, ...]
    build: Callable[[tuple[int, ...], int], "Parts"]
    thinned: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Parts:
    """One freshly initialised network in pieces.

    ``split`` is how many stages the papers share between branches (the trunk is the stem and ``stages[:split]``);
    ``channels`` are the channels of the map after each stage (the taps); ``copied_classifier`` says whether the
    authors' branches start with identical classifiers (true except where their initialisation redraws linear layers:
    VGG); ``initialise`` is what that initialisation does to a linear layer that a method adds, where it does anything;
    ``shared_stages`` says that branches share the late stages' modules too and own nothing but their heads; ``late``
    builds late stages of another depth or width, None where the family has none.
    """

    stem: nn.Module
    stages: list[nn.Module]
    head: ClassifierHead
    split: int
    channels: tuple[int, ...]
    copied_classifier: bool = True
    initialise: Callable[[nn.Linear], None] | None = None
    shared_stages: bool = False
    late: Late | None = None

    @property
    def feature_dim(self) -> int:
        """D, the width of the penultimate feature."""
        return self.head.feature_dim


@dataclass(frozen=True)
class AuxiliaryExit:
    """An auxiliary classifier: what goes on from the map after stage ``after`` (0: the stem's map)."""

    after: int
    branch: "Branch"


@dataclass(frozen=True)
class Architecture:
    """A named way to build a network; the module weights come from torch's generator at the time of the call.

    ``title`` is the name that papers print (several identifiers may share it), ``image_size`` the input side in pixels.
    ``light_exits`` builds the auxiliary exits that authors designed for this network, lighter than copies of all later
    stages; None where there are none.
    """

    name: str
    title: str
    build: Callable[[int], Parts]
    image_size: int = 32
    light_exits: Callable[[int], list[AuxiliaryExit]] | None = None


class Trace(NamedTuple):
    """The results of one forward pass: the map after each stage, the penultimate feature, the logits.

    ``maps`` are the outputs of the stages, in the precision in which they were computed; ``final`` is what the head
    pools: the last tap after the neck, or the tap itself if the network has no neck.
    """

    maps: tuple[Tensor, ...]
    final: Tensor
    features: Tensor
    logits: Tensor

    @property
    def taps(self) -> tuple[Tensor, ...]:
        """The outputs of the stages, cast to float32 where their precision is lower."""
        return tuple(to_float32(map) for map in self.maps)


class Trunk(LowPrecisionModule):
    """The stem and the shared early stages."""

    def __init__(self, parts: Parts, split: int) -> None:
        super().__init__()
        self.stem = parts.stem
        self.stages = nn.ModuleList(parts.stages[:split])

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the map after the stem and after each shared stage, in the precision in which they were computed."""
        with self.computing(images, self.stem, self.stages):
            maps = [self.stem(images)]
            for stage in self.stages:
                maps.append(stage(maps[-1]))
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Return the map [B, C, H, W] that the branches take."""
        return to_float32(self.maps(images)[-1])


class Branch(LowPrecisionModule):
    """The private late stages and their own head."""

    def __init__(self, parts: Parts, split: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(parts.stages[split:])
        self.head = parts.head

    def forward(self, map: Tensor) -> Trace:
        """Return the taps of the private stages, final map, features and logits for one trunk map."""
        maps = [map]
        with self.computing(map, self.stages):
            for stage in self.stages:
                maps.append(stage(maps[-1]))
        return Trace(tuple(maps[1:]), *self.head(to_float32(maps[-1])))


def fork(networks: Sequence[Parts], split: int) -> list[Branch]:
    """Return a branch of each network from stage ``split`` on; `Parts.shared_stages` gives all the first's."""
    branches = [Branch(parts, split) for parts in networks]
    if networks[0].shared_stages:
        for branch in branches[1:]:
            branch.stages = branches[0].stages
    return branches


class Single(nn.Module):
    """One plain network."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.trunk = Trunk(parts, parts.split)
        self.branch = Branch(parts, parts.split)

    def trace(self, images: Tensor) -> Trace:
        """Run a forward pass that keeps the map after every stage."""
        shared = self.trunk.maps(images)
        private: Trace = self.branch(shared[-1])
        return private._replace(maps=(*shared[1:], *private.maps))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes]."""
        return self.branch(self.trunk.maps(images)[-1]).logits  # type: ignore[no-any-return]


class Branched(nn.Module):
    """One trunk and several branches, each branch made from its own freshly initialised network.

    ``classifiers`` says how the branches' classifiers start: ``identical`` (the others copy the first),
    ``independent``, or ``authors`` (as the released code of PCL and DKEL leaves each network: see
    `Parts.copied_classifier`). ``split`` overrides how many stages are shared; ``shared_branch`` makes all branches one
    module, as the released code of PCL did for VGG and DenseNet before its fix of 2022-05-25 (for studies of collapse
    only).
    """

    def __init__(
        self,
        networks: Sequence[Parts],
        classifiers: Literal["authors", "identical", "independent"] = "authors",
        split: int | None = None,
        shared_branch: bool = False,
    ) -> None:
        super().__init__()
        first = networks[0]
        at = first.split if split is None else split
        self.trunk = Trunk(first, at)
        self.folded = False
        branches = fork(networks, at)
        if classifiers == "identical" or (classifiers == "authors" and first.copied_classifier):
            for branch in branches[1:]:
                branch.head.classifier = deepcopy(first.head.classifier)
        self.branches = nn.ModuleList(branches[:1] * len(branches) if shared_branch else branches)

    def forward(self, views: Sequence[Tensor]) -> list[Trace]:
        """Return one trace per branch; branch i sees view i, or all see the only view.

        Each view passes the trunk on its own, so batch normalisation uses the statistics of one view and moves its
        running statistics once per view; a view that all branches share passes once.
        """
        if len(views) not in (1, len(self.branches)):
            raise ValueError(f"{len(self.branches)} branches take 1 view or one each, not {len(views)}")
        together = self.folded and len(views) > 1
        maps = self._together(views) if together else [self.trunk.maps(view)[-1] for view in views]
        return [branch(maps[i if len(maps) > 1 else 0]) for i, branch in enumerate(self.branches)]

    def fold(self) -> bool:
        """Pass all views through the trunk in one batch from now on; return False if that is not possible."""
        self.folded = separate_views(self.trunk)
        return self.folded

    def _together(self, views: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return each view's map, from one pass of all."""
        with side_by_side(self.trunk, len(views)):
            return self.trunk.maps(torch.cat(list(views)))[-1].chunk(len(views))


class Separate(nn.Module):
    """Several whole networks that share nothing, called as `Branched` is."""

    def __init__(self, networks: Sequence[Parts]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(Single(parts) for parts in networks)

    def forward(self, views: Sequence[Tensor]) -> list[Trace]:
        """Return one trace per network; network i sees view i, or all see the only view."""
        if len(views) not in (1, len(self.networks)):
            raise ValueError(f"{len(self.networks)} networks take 1 view or one each, not {len(views)}")
        return [
            network.trace(views[i if len(views) > 1 else 0])  # type: ignore[operator]
            for i, network in enumerate(self.networks)
        ]


def fold_views(module: nn.Module) -> None:
    """Let every `Branched` within ``module`` pass all views through its trunk at once, if it can."""
    for branched in module.modules():
        if isinstance(branched, Branched):
            branched.fold()


def staged(
    make: Callable[[int, tuple[int, ...], tuple[int, ...]], Parts],
    classes: int,
    *,
    depths: tuple[int, ...],
    widths: tuple[int, ...],
    thinned: tuple[int, ...] | None = None,
) -> Parts:
    """Return ``make(classes, depths, widths)``, one depth and width for each stage, with a `Late` that makes others."""

    def other(depths: tuple[int, ...], widening: int = 1) -> Parts:
        return make(classes, depths, (*widths[:-1], widening * widths[-1]))

    return replace(make(classes, depths, widths), late=Late(depths, other, thinned))


def kaiming_convolutions(module: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_out") -> None:
    """Draw Kaiming-normal convolutions, as most authors do; biases, BN (1/0) and linear layers stay as torch's."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")


def count_parameters(*modules: nn.Module) -> int:
    """Return number of parameters; one that several modules share counts once."""
    return sum({id(p): p.numel() for module in modules for p in module.parameters()}.values())

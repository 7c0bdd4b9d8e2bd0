"""The networks of the golden data, made from this project's parts."""

from collections.abc import Sequence

import torch
from golden.checker import load
from torch import Tensor, nn

from okdbench import networks
from okdbench.networks import Branched, Single, Trace

NETWORKS = load("networks.json")

IDENTIFIERS = {
    "resnet32": "resnet32",
    "resnet110": "resnet110_bottleneck",
    "vgg16": "vgg16_mlp",
    "densenet40-12": "densenet40_12_bc",
    "densenet40-12-nofinalbn": "densenet40_12_bc_nofinalbn",
    "wrn20-8": "wrn20_8_tv",
    "tiny-resnet18": "tiny_resnet18",
    "tiny-resnet34": "tiny_resnet34",
}
ENTRIES = {**NETWORKS["dkel"], **NETWORKS["pcl"]}
"""Golden ``<network>-<classes>`` -> counts and layers."""


def identifier(entry: str) -> tuple[str, int]:
    """Our identifier and the number of classes of a golden ``<network>-<classes>``."""
    name, _, classes = entry.rpartition("-")
    return IDENTIFIERS[name], int(classes)


class Student(nn.Module):
    """Branches and the ensemble classifier on their concatenated features, as in PCL and DKEL."""

    def __init__(self, name: str, classes: int, peers: int = 3) -> None:
        super().__init__()
        parts = [networks.get(name).build(classes) for _ in range(peers)]
        self.branched = Branched(parts)
        self.ensemble = nn.Linear(peers * parts[0].feature_dim, classes)

    def forward(self, views: Sequence[Tensor]) -> tuple[list[Trace], Tensor]:
        """Traces of the branches and the ensemble classifier's logits."""
        traces = self.branched(views)
        return traces, self.ensemble(torch.cat([trace.features for trace in traces], dim=1))


def single(name: str, classes: int) -> Single:
    """The plain network."""
    return Single(networks.get(name).build(classes))

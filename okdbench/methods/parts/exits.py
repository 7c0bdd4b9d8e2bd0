"""Networks with auxiliary exits."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from okdbench.networks import AuxiliaryExit, Parts, Single, Trace


class Exits(NamedTuple):
    """Outputs of one network: ``features`` [n, B, D] and ``logits`` [n, B, C] of its n exits, the final one last."""

    features: Tensor
    logits: Tensor


class MultiExit(nn.Module):
    """A network with auxiliary exits."""

    def __init__(self, parts: Parts, auxiliary: Sequence[AuxiliaryExit]) -> None:
        super().__init__()
        self.backbone = Single(parts)
        self.branches = nn.ModuleList(each.branch for each in auxiliary)
        self._after = [each.after for each in auxiliary]

    def traces(self, images: Tensor) -> list[Trace]:
        """Return a trace of each exit, auxiliary ones first; their gradients reach the stages that they share."""
        shared = self.backbone.trunk.maps(images)
        final = self.backbone.branch(shared[-1])
        maps = (*shared, *final.maps)
        return [*(branch(maps[after]) for branch, after in zip(self.branches, self._after, strict=True)), final]

    def forward(self, images: Tensor) -> Exits:
        """Return features, of one width, and logits of all exits in the order of `traces`."""
        traces = self.traces(images)
        return Exits(torch.stack([t.features for t in traces]), torch.stack([t.logits for t in traces]))

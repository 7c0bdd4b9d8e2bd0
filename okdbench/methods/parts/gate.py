"""Gates that say, image by image, how much each of several answers counts."""

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """How much each peer counts, image by image: pooling, linear layer, BN, ReLU, softmax over the peers.

    In train mode BN uses the statistics of the batch, so the gate of one image depends on the others.
    """

    def __init__(self, channels: int, peers: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, peers)
        self.norm = nn.BatchNorm1d(peers)

    def forward(self, map: Tensor) -> Tensor:
        """Return weights [B, m], whose rows sum to 1, from a map [B, C, H, W]."""
        return self.norm(self.linear(map.mean(dim=(2, 3)))).relu().softmax(dim=1)  # type: ignore[no-any-return]


def mixed(logits: Tensor, gate: Tensor) -> Tensor:
    """Return the gated logits: [m, B, C] and weights [B, m] -> [B, C]."""
    return torch.einsum("mbc,bm->bc", logits, gate)

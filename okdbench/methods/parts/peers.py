"""What methods of several peers share: how they are wired, their logits as one tensor, and the names of their heads."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from okdbench.networks import Branched, Parts, Separate, Trace


def wire(networks: Sequence[Parts], sharing: Literal["branches", "networks"]) -> Branched | Separate:
    """Return branches on the trunk of the first network, with their own classifiers, or whole networks."""
    return Branched(networks, "independent") if sharing == "branches" else Separate(networks)


def stack_logits(traces: Sequence[Trace]) -> Tensor:
    """Return the logits of m peers as [m, B, classes]."""
    return torch.stack([trace.logits for trace in traces])


def peer_heads(count: int) -> tuple[str, ...]:
    """``peer0`` to ``peer<count - 1>``."""
    return tuple(f"peer{index}" for index in range(count))

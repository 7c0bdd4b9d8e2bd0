"""Exponential moving averages of weights."""

from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class EMA:
    """Keeps a teacher's parameters as the moving average of a student's.

    theta_T <- a theta_T + (1 - a) theta_S with a = min(1 - 1 / (g + 1), decay), g the global step from 0: the first
    update copies the student (mean-teacher warm-up, as in the PCL and DKEL code). ``warmup=False`` uses a = decay
    from the first step on; ``start`` counts g from a later number. Buffers (BN statistics) are left alone, or
    averaged likewise where ``buffers``.
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        decay: float,
        *,
        warmup: bool = True,
        start: int = 0,
        buffers: bool = False,
    ) -> None:
        self.decay, self.warmup, self.start = decay, warmup, start
        both = zip(teacher.parameters(), student.parameters(), strict=True)
        pairs = [(t, s) for t, s in both if t is not s]
        self.teachers: list[Tensor] = [t for t, _ in pairs]
        """The teacher's own parameters: one that it shares with the student (a common stem) needs no averaging."""
        self._students: list[Tensor] = [s for _, s in pairs]
        if buffers:
            both_buffers = zip(teacher.buffers(), student.buffers(), strict=True)
            floating = [(t, s) for t, s in both_buffers if t.is_floating_point()]
            self.teachers += [t for t, _ in floating]
            self._students += [s for _, s in floating]

    def coefficient(self, step: Tensor) -> Tensor:
        """a at global step ``step`` (0-d), the weight of the old teacher."""
        if not self.warmup:
            return torch.full_like(step, self.decay)
        return (1.0 - 1.0 / (step + self.start + 1.0)).clamp(max=self.decay)

    @torch.no_grad()
    def update(self, step: Tensor) -> None:
        """Move the teacher towards the student."""
        keep = self.coefficient(step)
        torch._foreach_mul_(self.teachers, keep)
        torch._foreach_add_(self.teachers, list(torch._foreach_mul(self._students, 1.0 - keep)))


def frozen_copy(network: Network) -> Network:
    """Return a copy of the network that no optimiser trains, for its moving average."""
    return deepcopy(network).requires_grad_(False)

"""The gradient of a loss after some SGD steps, with respect to values that these steps depend on.

The scheme of L-MCL's code and of L2T-ww (Jang et al., ICML 2019): take the steps, then walk back through them, each
recomputed with the graph of its gradient. Parameters are changed in place and restored, so modules run as they are.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Loss = Callable[[], Tensor]
Tensors = Sequence[Tensor]


class Lookahead:
    """SGD steps on parameters theta, which are undone after their effect has been computed.

    A step is v' = mu v + g + w theta, theta' = theta - r v', from v = 0 on: torch's SGD without Nesterov momentum.
    Where a loss does not reach a parameter, g = 0 and the rest of the step remains. ``rate`` r is 0-d. ``buffers`` are
    what the losses change as they run: batch statistics, or memories that the next loss reads.

    ``coupling`` c enters the adjoint of theta, A <- A (1 - r w) + c B + d(g . (B - r A))/dtheta, where B is the adjoint
    of v. The derivative has c = w, the default.
    """

    def __init__(
        self,
        parameters: Tensors,
        buffers: Tensors,
        rate: Tensor,
        momentum: float,
        weight_decay: float,
        coupling: float | None = None,
    ) -> None:
        self.parameters, self.buffers = list(parameters), list(buffers)
        self.rate, self.momentum, self.weight_decay = rate, momentum, weight_decay
        self.coupling = weight_decay if coupling is None else coupling

    def hypergradient(self, losses: Sequence[Loss], objective: Loss, hyper: Tensors) -> list[Tensor]:
        """d objective / d hyper after a step on each of the losses in turn, in the shapes of ``hyper``.

        ``objective`` must depend on ``hyper`` through the steps alone. Afterwards the parameters are bit-identical to
        before, no ``grad`` has been touched, and the buffers are as if only the first loss had run, once.
        """
        points = self._walk(losses)
        adjoint = self._gradients(objective())
        velocity = [torch.zeros_like(p) for p in self.parameters]
        total = [torch.zeros_like(h) for h in hyper]
        for index in reversed(range(len(losses))):
            _put([*self.parameters, *self.buffers], points[index])
            ahead = list(torch._foreach_sub(velocity, torch._foreach_mul(adjoint, self.rate)))
            # The adjoint is the expensive part, and no step before the first one needs it.
            wanted = [*hyper, *self.parameters] if index else list(hyper)
            along = self._second_order(losses[index](), ahead, wanted)
            torch._foreach_add_(total, along[: len(hyper)])
            if index:
                adjoint = list(torch._foreach_mul(adjoint, 1.0 - self.rate * self.weight_decay))
                torch._foreach_add_(adjoint, velocity, alpha=self.coupling)
                torch._foreach_add_(adjoint, along[len(hyper) :])
                velocity = list(torch._foreach_mul(ahead, self.momentum))
        return total

    def _walk(self, losses: Sequence[Loss]) -> list[list[Tensor]]:
        """Take the steps and return the parameters and buffers from which each of them started."""
        points = []
        velocity = [torch.zeros_like(p) for p in self.parameters]
        for loss in losses:
            points.append(_copies([*self.parameters, *self.buffers]))
            gradients = self._gradients(loss())
            with torch.no_grad():
                torch._foreach_mul_(velocity, self.momentum)
                torch._foreach_add_(velocity, gradients)
                torch._foreach_add_(velocity, self.parameters, alpha=self.weight_decay)
                torch._foreach_sub_(self.parameters, torch._foreach_mul(velocity, self.rate))
        return points

    def _gradients(self, loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, self.parameters, materialize_grads=True))

    def _second_order(self, loss: Tensor, vector: Tensors, wanted: Tensors) -> list[Tensor]:
        """d(g . vector) along each of the wanted tensors, g the gradient of the loss with respect to the parameters."""
        gradients = torch.autograd.grad(loss, self.parameters, create_graph=True, materialize_grads=True)
        curved = [(g, v) for g, v in zip(gradients, vector, strict=True) if g.requires_grad]
        outputs, weights = zip(*curved, strict=True)
        return list(torch.autograd.grad(outputs, wanted, weights, materialize_grads=True))


@torch.no_grad()
def _copies(tensors: Tensors) -> list[Tensor]:
    return [tensor.clone() for tensor in tensors]


@torch.no_grad()
def _put(tensors: Tensors, values: Tensors) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)

"""One training step: forward, losses, backward, optimiser, moving averages, and sums for the log.

Nothing here waits for the device: what changes from step to step or epoch to epoch lives in 0-d tensors, so the
same step can run eagerly, compiled, or as a captured graph.
"""

from typing import Any

import torch
from torch import Tensor

from okdbench.config import TrainingSettings
from okdbench.methods import Batch, Method, Progress
from okdbench.training.average import Average
from okdbench.training.optimizer import Optimizers, rate_factor


class Step:
    """Trains ``method`` batch by batch; `begin_epoch` sets what is constant within an epoch."""

    def __init__(self, method: Method, training: TrainingSettings) -> None:
        self.method = method
        self.training = training
        self.optimizers = Optimizers(method, training.optimizer)
        self.average = Average(method, training.ema) if training.ema else None
        self._like = next(method.parameters())
        self.progress = Progress(epoch=self._zero(), step=self._zero(), rate=self._zero())
        self.rate = training.optimizer.lr
        self.images = 0
        self.sums: dict[str, Tensor] = {}

    def _zero(self) -> Tensor:
        return torch.zeros((), dtype=self._like.dtype, device=self._like.device)

    def begin_epoch(self, epoch: int, fresh: bool = True) -> None:
        """Set the learning rate and the loss weights of an epoch; ``fresh`` also starts its sums anew."""
        factor = rate_factor(self.training, epoch)
        self.rate = factor * self.training.optimizer.lr
        self.optimizers.set_rate(factor)
        self.progress.rate.fill_(self.rate)
        self.progress.epoch.fill_(epoch)
        for name, weight in self.method.schedule(epoch, self.training.epochs).items():
            self.progress.weights.setdefault(name, self._zero()).fill_(weight)
        if fresh:
            self.images, self.sums = 0, {}

    def __call__(self, batch: Batch, number: int = 0) -> dict[str, Tensor]:
        """Train on batch ``number`` of the epoch; the returned terms are 0-d tensors on the device, not read back."""
        terms = self.method.training_step(batch, self.progress, self._update)
        self.method.after_step(self.progress)
        if self.average:
            self.average.update(self.progress.step)
        if self.method.interval and number % self.method.interval == 0:
            self.method.episode(batch, self.progress)
        self.progress.step.add_(1)
        count = len(batch.labels)
        self.images += count
        for name, term in terms.items():
            self.sums.setdefault(name, self._zero()).add_(term.detach(), alpha=count)
        return terms

    def _update(self, loss: Tensor) -> None:
        self.optimizers.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizers.step()

    def mean_losses(self) -> dict[str, float]:
        """Each term's mean over the images of this epoch so far (waits for the device)."""
        return {name: float(total) / self.images for name, total in self.sums.items()}

    def state(self) -> dict[str, Any]:
        """Everything that a continued run needs, as tensors and plain values."""
        return {
            "method": self.method.state_dict(),
            "optimizers": self.optimizers.state(),
            "average": self.average.method.state_dict() if self.average else None,
            "step": self.progress.step,
            "images": self.images,
            "sums": self.sums,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        self.method.load_state_dict(state["method"])
        self.optimizers.load(state["optimizers"])
        if self.average:
            self.average.method.load_state_dict(state["average"])
        self.progress.step.copy_(state["step"])
        self.images = state["images"]
        self.sums = {name: total.to(self._like.device) for name, total in state["sums"].items()}

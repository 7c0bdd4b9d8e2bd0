"""One training step: forward, losses, backward, optimiser, moving averages, and sums for the log.

Nothing here waits for the device: what changes from step to step or epoch to epoch lives in 0-d tensors, so the
same step can run eagerly, compiled, or recorded in a graph (`okdbench.training.backends`).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from okdbench.config import Schedule, TrainingSettings
from okdbench.methods import Batch, Method, Progress
from okdbench.networks import counted_together, counting_norms
from okdbench.training.average import Average
from okdbench.training.backends import EAGER, Changes, Runner
from okdbench.training.distributed import ALONE, Processes
from okdbench.training.images import PendingBatch
from okdbench.training.optimizer import Optimizers, rate_factor, rises_by_step, starts_anew


class Step:
    """Trains ``method`` batch by batch; `begin_epoch` sets what is constant within an epoch.

    ``run`` launches the work that is the same in all steps. ``compiled`` says that the method is compiled
    (`torch.nn.Module.compile`), which is used for whole batches only.

    Where several ``processes`` train together, each takes its part of the batch, and all end in the same state: with
    the mean of their gradients, and with the buffers (BN statistics) of the first. Parameters that a meta step trains,
    by its own rule and on each process's part, are averaged. Only `Method.apart` differs between processes.
    """

    def __init__(
        self,
        method: Method,
        training: TrainingSettings,
        processes: Processes = ALONE,
        run: Runner = EAGER,
        compiled: bool = False,
    ) -> None:
        self.method = method
        self.training = training
        self.processes = processes
        self.run = run
        self.optimizers = Optimizers(method, training.optimizer)
        self.average = Average(method, training.ema) if training.ema else None
        method.gather = processes.gather
        self._apart = {id(parameter) for parameter in method.apart()}
        self._compiled = compiled
        self._norms = counting_norms(method)
        self._like = next(method.parameters())
        self.progress = Progress(epoch=self._zero(), step=self._zero() - 1, rate=self._zero(), number=self._zero())
        self.rate = training.optimizer.lr
        self._epoch, self._steps, self._rises = 0, 1, False
        self.images = 0
        self.sums: dict[str, Tensor] = {}

    def _zero(self) -> Tensor:
        return torch.zeros((), dtype=self._like.dtype, device=self._like.device)

    def begin_epoch(self, epoch: int, fresh: bool = True, steps: int = 1) -> None:
        """Set the learning rate and the loss weights of an epoch of ``steps`` steps; ``fresh`` says that it begins.

        Then its sums are reset, and the optimiser's state where the schedule asks for that.
        """
        self._epoch, self._steps = epoch, steps
        own = (schedule for schedules in self.optimizers.schedules for schedule in schedules)
        self._rises = any(rises_by_step(schedule or self.training.schedule, epoch) for schedule in own)
        self._set_rate(0)
        self.progress.epoch.fill_(epoch)
        for name, weight in self.method.schedule(epoch, self.training.epochs).items():
            self.progress.weights.setdefault(name, self._zero()).fill_(weight)
        if fresh:
            if starts_anew(self.training.schedule, epoch):
                self.optimizers.reset()
            self.images = 0
            for total in self.sums.values():
                total.zero_()

    def _set_rate(self, number: int) -> None:
        """Set the learning rates of step ``number`` of the epoch."""

        def factor(schedule: Schedule | None) -> float:
            return rate_factor(self.training, self._epoch, number, self._steps, schedule)

        self.rate = factor(None) * self.training.optimizer.lr
        self.optimizers.set_rate(factor)
        self.progress.rate.fill_(self.rate)

    def _begin_step(self, number: int) -> None:
        """Set what changes from step to step within an epoch, before the work that may be recorded."""
        self.progress.number.fill_(number)
        if self._rises:
            self._set_rate(number)

    def train_pending(self, pending: PendingBatch, number: int) -> None:
        """Make the batch and train on it. ``number``: index of the batch within the epoch."""
        self._begin_step(number)
        self.run((self, pending.size), lambda: self.train(pending.batch()), self.changes)
        if self._has_meta_step(number):  # a record of its own, which makes the same batch again
            self.run((self, pending.size, "meta step"), lambda: self._meta_step(pending.batch()), self.changes)
        self.images += pending.size * self.processes.size

    def __call__(self, batch: Batch, number: int = 0) -> dict[str, Tensor]:
        """Train on batch ``number`` of the epoch; return its terms as 0-d tensors on the device, not read back."""
        self._begin_step(number)
        terms = self.train(batch)
        if self._has_meta_step(number):
            self._meta_step(batch)
        self.images += self._count(batch)
        return terms

    def train(self, batch: Batch) -> dict[str, Tensor]:
        """Do a step's work on the device: the same every time, so it can be recorded once for each size of batch."""
        self.progress.step.add_(1)
        with self._losses_as_chosen(batch), counted_together(self._norms):
            terms = self.processes.mean(self.method.training_step(batch, self.progress, self._update))
        self.processes.copy_first(self._floating_buffers())
        self.method.after_step(self.progress)
        if self.average:
            self.average.update(self.progress.step)
        for name, term in terms.items():
            if name not in self.sums:
                self.sums[name] = self._zero()
            self.sums[name].add_(term.detach(), alpha=self._count(batch))
        return terms

    def _has_meta_step(self, number: int) -> bool:
        """Whether a meta step of the method follows step ``number`` of the epoch."""
        return bool(self.method.meta_every) and number % self.method.meta_every == 0

    def _meta_step(self, batch: Batch) -> None:
        self.method.meta_step(batch, self.progress)
        self.processes.average([*self._untrained(), *self._floating_buffers()])

    def _count(self, batch: Batch) -> int:
        """Images in the batch, over all processes."""
        return len(batch.labels) * self.processes.size

    def _losses_as_chosen(self, batch: Batch) -> AbstractContextManager[object]:
        """Compiled for whole batches; the epoch's one smaller batch is not worth a compilation."""
        if not self._compiled or self._count(batch) == self.training.batch_size:
            return nullcontext()
        return torch.compiler.set_stance("force_eager")  # type: ignore[no-any-return]

    def _update(self, loss: Tensor) -> None:
        self.optimizers.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        trained = (p for p in self.method.parameters() if p.grad is not None and id(p) not in self._apart)
        self.processes.average(p.grad for p in trained if p.grad is not None)
        self.optimizers.step()

    def _floating_buffers(self) -> Iterator[Tensor]:
        return (buffer for buffer in self.method.buffers() if buffer.is_floating_point())

    def _untrained(self) -> Iterator[Tensor]:
        """The parameters that no optimiser trains."""
        trained = {id(p) for group in self.method.parameter_groups() for p in group.parameters}
        return (p for p in self.method.parameters() if id(p) not in trained)

    def mean_losses(self) -> dict[str, float]:
        """Return each term's mean over the images of this epoch so far (waits for the device)."""
        return {name: float(total) / self.images for name, total in self.sums.items()}

    def changes(self) -> Changes:
        """Return all tensors that `train` and a meta step change and later steps read."""
        average = self.average.method if self.average else None
        return {
            "parameters": list(self.method.parameters()),
            "buffers": list(self.method.buffers()),
            "optimizer state": list(self.optimizers.tensors()),
            "memory": list(self.method.memory().values()),
            "moving average": [*average.parameters(), *average.buffers()] if average else [],
            "sums": list(self.sums.values()),
            "step number": [self.progress.step],
        }

    def state(self) -> dict[str, Any]:
        """Return everything that a resumed run needs, as tensors and plain values."""
        return {
            "method": self.method.state_dict(),
            "optimizers": self.optimizers.state(),
            "average": self.average.method.state_dict() if self.average else None,
            "step": self.progress.step,
            "images": self.images,
            "sums": self.sums,
            **({"memory": memory} if (memory := self.method.memory()) else {}),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.method.load_state_dict(state["method"])
        for name, tensor in self.method.memory().items():
            tensor.copy_(state["memory"][name])
        self.optimizers.load(state["optimizers"])
        if self.average:
            self.average.method.load_state_dict(state["average"])
        self.progress.step.copy_(state["step"])
        self.images = state["images"]
        self.sums = {name: total.to(self._like.device) for name, total in state["sums"].items()}

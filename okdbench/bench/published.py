"""Training as the papers' public code does it: the plain loop that every speed-up is measured against.

Nothing here is meant to be fast. One small operation follows another, the network passes each view by itself, each pair
has a distillation term of its own, the moving average loops over the parameters in Python, and numbers are read back
after every step. That is what the public code of PCL and DKEL executes, rewritten for our networks, so that both loops
compute the same losses and end in the same weights.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from okdbench.config import OptimizerSettings
from okdbench.methods import Batch, Method
from okdbench.methods.baseline import Baseline
from okdbench.methods.dkel import DKEL
from okdbench.methods.pcl import PeerNetwork


class Plain(ABC):
    """One method as its public code computes it."""

    of: ClassVar[type[Method]]

    def __init__(self, method: Any) -> None:
        self.method = method

    @abstractmethod
    def losses(self, batch: Batch, weights: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The loss, 0-d, and the logits [B, C] of every peer; ``weights`` are what `Method.schedule` gives."""

    @abstractmethod
    def predict(self, images: Tensor) -> list[Tensor]:
        """Return logits [B, C] of every head that is evaluated."""

    @abstractmethod
    def average(self, number: int) -> None:
        """Move the teacher after step ``number``, counted from 0, if there is one."""


class PlainBaseline(Plain):
    """One network."""

    of = Baseline
    method: Baseline

    def losses(self, batch: Batch, weights: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        """CE(z, y), the mean over the views."""
        peers = [self.method.student(view) for view in batch.views]
        loss = functional.cross_entropy(peers[0], batch.labels)
        for logits in peers[1:]:
            loss = loss + functional.cross_entropy(logits, batch.labels)
        return loss / len(peers), peers

    def predict(self, images: Tensor) -> list[Tensor]:
        """Return logits [B, C] of the network."""
        return [self.method.student(images)]

    def average(self, number: int) -> None:
        """Do nothing: there is no teacher."""


class PlainDKEL(Plain):
    """Branches, their ensemble, and the teacher that trails them."""

    of = DKEL
    method: DKEL

    def losses(self, batch: Batch, weights: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Equations 5-11 of the DKEL paper, pair by pair; ``weights`` are w(e) and r(e)."""
        config = self.method.config
        peers, ensemble = _pass(self.method.student, batch.views)
        with torch.no_grad():
            teachers, _ = _pass(self.method.teacher, batch.views)
        w, r = weights["distillation"], weights["ensemble"]
        shares: dict[str, tuple[Tensor | float, Tensor | float]]
        shares = {"additive": (1.0, r), "convex": (1.0 - r, r), "off": (1.0, 0.0)}
        share = shares[config.ensemble]
        loss = functional.cross_entropy(ensemble, batch.labels)
        for index, logits in enumerate(peers):
            others = [teacher for other, teacher in enumerate(teachers) if other != index]
            apart = sum(_divergence(logits, teacher, config.temperature) for teacher in others) / len(others)
            together = _divergence(logits, torch.stack(others).mean(dim=0), config.temperature)
            loss = loss + functional.cross_entropy(logits, batch.labels)
            loss = loss + w * _divergence(logits, ensemble.detach(), config.temperature)
            loss = loss + w * (share[0] * apart * config.peer_teachers + share[1] * together)
        return loss, peers

    def predict(self, images: Tensor) -> list[Tensor]:
        """Return the teacher's peers and ensemble; every peer gets its own copy of the same view."""
        peers, ensemble = _pass(self.method.teacher, (images,) * self.method.config.peers)
        return [*peers, ensemble]

    def average(self, number: int) -> None:
        """theta_T <- a theta_T + (1 - a) theta_S, one parameter after the other."""
        config = self.method.config
        warm = 1.0 - 1.0 / (number + config.ema_start + 1.0)
        keep = min(warm, config.ema_decay) if config.ema_warmup else config.ema_decay
        for teacher, student in zip(self.method.teacher.parameters(), self.method.student.parameters(), strict=True):
            if teacher is not student:
                teacher.data.mul_(keep).add_(student.data, alpha=1.0 - keep)


def _pass(network: PeerNetwork, views: tuple[Tensor, ...]) -> tuple[list[Tensor], Tensor]:
    """Return logits [B, C] of every peer and of their ensemble; the trunk runs once for each view."""
    maps = [network.network.trunk(view) for view in views]
    branches = list(network.network.branches)
    maps = maps if len(maps) > 1 else maps * len(branches)
    traces = [branch(map) for branch, map in zip(branches, maps, strict=True)]
    logits = [trace.logits for trace in traces]
    if network.ensemble is None:
        return logits, torch.stack(logits).sum(dim=0)
    return logits, network.ensemble(torch.cat([trace.features for trace in traces], dim=1))


def _divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student), as `torch.nn.functional.kl_div` computes it."""
    log_student = functional.log_softmax(student / temperature, dim=1)
    target = functional.softmax(teacher / temperature, dim=1)
    return functional.kl_div(log_student, target, reduction="batchmean") * temperature**2


_PLAIN: dict[type[Method], type[Plain]] = {kind.of: kind for kind in (PlainBaseline, PlainDKEL)}


def is_published(kind: type[Method]) -> bool:
    """Return whether this method has a loop modelled on the public code."""
    return kind in _PLAIN


def plain_loop(method: Method) -> Plain | None:
    """Return the method as its public code computes it, None if there is no such loop."""
    return _PLAIN[type(method)](method) if is_published(type(method)) else None


def optimizers(method: Method, settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """Return torch's optimisers with default options, one for each of the method's parameter groups."""
    made = list[torch.optim.Optimizer]()
    for group in method.parameter_groups():
        lr = settings.lr if group.lr is None else group.lr
        decay = settings.weight_decay if group.weight_decay is None else group.weight_decay
        if group.optimizer == "adam":
            made.append(torch.optim.Adam(group.parameters, lr, weight_decay=decay))
        else:
            made.append(
                torch.optim.SGD(group.parameters, lr, settings.momentum, weight_decay=decay, nesterov=settings.nesterov)
            )
    return made


class PlainStep:
    """One step of the public loops, on batches that are on the method's device.

    torch's SGD with default options, then the moving average, then the loss and the top-1 accuracy of every peer read
    back, which waits for the device each time. ``weights`` are the epoch's loss weights.
    """

    def __init__(self, method: Method, settings: OptimizerSettings, weights: dict[str, float]) -> None:
        code = plain_loop(method)
        if code is None:
            raise ValueError(f"there is no public loop for {type(method).__name__}")
        self._code, self._number = code, 0
        like = next(method.parameters())
        self._weights = {name: torch.full_like(like.flatten()[0], weight) for name, weight in weights.items()}
        self.optimizers = optimizers(method, settings)
        self.accuracy = [0.0]

    def __call__(self, batch: Batch) -> float:
        """Train on the batch; return the loss as a number."""
        loss, peers = self._code.losses(batch, self._weights)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self.optimizers:
            optimizer.step()
        self._code.average(self._number)
        self._number += 1
        read = loss.item()
        self.accuracy = [_top1(logits, batch.labels) for logits in peers]
        return read

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> list[float]:
        """Return mean top-1 accuracy in percent of every head; losses and accuracies are read back batch by batch."""
        self._code.method.eval()
        sums, count = [0.0], 0
        for batch in batches:
            heads = self._code.predict(batch.views[0])
            for logits in heads:
                functional.cross_entropy(logits, batch.labels).item()
            size = len(batch.labels)
            accuracies = [size * _top1(logits, batch.labels) for logits in heads]
            sums = [one + other for one, other in zip(sums if count else [0.0] * len(heads), accuracies, strict=True)]
            count += size
        self._code.method.train()
        return [total / count for total in sums]


def _top1(logits: Tensor, labels: Tensor) -> float:
    """Return the top-1 accuracy in percent, computed from the five best classes as in the public code."""
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices.t()
    return float(best.eq(labels.view(1, -1).expand_as(best))[:1].float().sum().mul(100.0 / len(labels)).item())

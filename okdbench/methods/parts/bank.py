"""Memory banks of MCL and L-MCL on ImageNet: an embedding of every training image for each of two or more networks.

A batch's image is contrasted with rows of a bank, its ``slots``: its own row, that of an image of its class, and those
of images of other classes. S^{m,a} = <M_m[slots], z_a> / tau, [B, slots], for a bank m and an embedding z_a.
"""

from typing import Generic

import torch
from torch import Tensor
from typing_extensions import TypeVar

from okdbench.methods.base import Batch, Method, Progress
from okdbench.methods.parts.contrastive import Contrast, ContrastiveConfig, soft

BankConfigT = TypeVar("BankConfigT", bound=ContrastiveConfig)

POSITIVES = 1
"""Slots with an image of the anchor's class, drawn from all of them, the anchor included."""
_GOLDEN, _FIRST, _SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
"""The constants of SplitMix64 (Steele et al. 2014), as signed numbers."""


class MemoryBank:
    """Rows [networks, N, E] of length about 1, constant for the losses, and the slots of every image at every step.

    ``labels`` [N] on the CPU are those of the training images; ``like`` says on which device and in which precision to
    keep rows. Initial rows and the key of the slots are drawn from torch's generators.
    """

    def __init__(self, labels: Tensor, networks: int, width: int, like: Tensor) -> None:
        side = (3.0 / width) ** 0.5
        shape = networks, len(labels), width
        self.rows = torch.empty(shape, device=like.device).uniform_(-side, side).to(like.dtype)
        self._key = int(torch.randint(1 << 62, ()))
        sizes = labels.bincount()
        order = labels.argsort(stable=True)
        self._sizes, self._first, self._by_class = (
            each.to(like.device) for each in (sizes, sizes.cumsum(0) - sizes, order)
        )

    def slots(self, index: Tensor, labels: Tensor, step: Tensor, negatives: int) -> Tensor:
        """Return the slots [B, 2 + negatives] of images ``index`` [B] with these labels: own, positive, negatives.

        Negatives are drawn with replacement. What is drawn depends on image and step alone, so that it can be drawn
        again within the step.
        """
        images, size = len(self._by_class), self._sizes[labels].unsqueeze(1)
        first = self._first[labels].unsqueeze(1)
        anchor = _mixed(step.long() * images + index + self._key).unsqueeze(1)
        count = torch.arange(1, POSITIVES + negatives + 1, device=index.device)
        drawn = _right(_mixed(anchor + count * _GOLDEN), 1)
        positive = first + drawn[:, :POSITIVES] % size
        negative = drawn[:, POSITIVES:] % (images - size).clamp(min=1)
        negative = negative + size * (negative >= first)
        return torch.cat([index.unsqueeze(1), self._by_class[torch.cat([positive, negative], dim=1)]], dim=1)

    def similarities(self, slots: Tensor, embeddings: Tensor, tau: float) -> Tensor:
        """Return S^{m,a} [networks, A, B, slots] of embeddings [A, B, E]; each bank is read once."""
        return torch.stack([torch.einsum("bse,abe->abs", rows[slots], embeddings) for rows in self.rows]) / tau

    def at(self, index: Tensor) -> "BatchRows":
        """Return the rows ``index`` [B]."""
        return BatchRows(self, index)

    @torch.no_grad()
    def update(self, index: Tensor, embeddings: Tensor, momentum: float) -> None:
        """Move the rows ``index`` [B] of all banks towards embeddings [networks, B, E]; they end at length 1."""
        rows = momentum * self.rows[:, index] + (1.0 - momentum) * embeddings.to(self.rows.dtype)
        self.rows[:, index] = rows / rows.norm(dim=-1, keepdim=True)


class BatchRows:
    """The rows of a batch apart from the bank, so that they can be kept and put back."""

    def __init__(self, bank: MemoryBank, index: Tensor) -> None:
        self._bank, self._index = bank, index
        self.values = bank.rows[:, index]
        """[networks, B, E]"""

    def keep(self) -> None:
        """Take the values from the bank."""
        self.values.copy_(self._bank.rows[:, self._index])

    def restore(self) -> None:
        """Put the values into the bank."""
        self._bank.rows[:, self._index] = self.values


class BankMethod(Method[BankConfigT], Generic[BankConfigT]):
    """A method that contrasts images with memory banks where its setting ``bank`` says so, one for each network."""

    banks: int
    """The number of banks."""
    bank: MemoryBank | None = None
    _seen: tuple[Tensor, Tensor] | None = None

    def remember(self, labels: Tensor) -> None:
        """Make the memory banks."""
        config = self.config
        if config.bank and config.contrasts:
            self.bank = MemoryBank(labels, self.banks, config.embedding, next(self.parameters()))

    def memory(self) -> dict[str, Tensor]:
        """Return the rows of the banks."""
        return {"bank": self.bank.rows} if self.bank else {}

    def slots(self, batch: Batch, progress: Progress) -> Tensor | None:
        """Return the slots of the batch in the banks, the same throughout a step; None without banks."""
        if not self.bank or batch.indices is None:
            return None
        return self.bank.slots(batch.indices, batch.labels, progress.step, self.config.negatives)

    def note(self, slots: Tensor, embeddings: Tensor) -> None:
        """Note the embeddings [banks, B, E] of a step for the update of the banks."""
        self._seen = slots[:, 0], embeddings.detach()

    def after_step(self, progress: Progress) -> None:
        """Move the banks towards the embeddings of this step, those of all processes."""
        if self.bank and self._seen:
            index, embeddings = self._seen
            together = self.gather(embeddings.transpose(0, 1)).transpose(0, 1)
            self.bank.update(self.gather(index), together, self.config.bank_momentum)


def bank_contrast(similarities: Tensor, temperature: float) -> Contrast:
    """Return all terms per anchor of m networks, each with its own bank, from S [m, m, B, slots].

    ``vcl`` and ``soft_vcl`` are of a network and its own bank, without the anchor's own row; ``icl`` [a, b] and
    ``soft_icl`` are of the bank of a and the embedding of b, with that row, which is a positive, too.
    """
    own = similarities.diagonal().movedim(-1, 0)[:, :, 1:]
    return Contrast(
        vcl=hard_slots(own, POSITIVES),
        icl=hard_slots(similarities, POSITIVES + 1),
        soft_vcl=soft_slots(own, own, temperature),
        soft_icl=soft(similarities, similarities.transpose(0, 1), temperature),
    )


def hard_slots(similarities: Tensor, positives: int) -> Tensor:
    """Return log sum_j exp S_j - mean of the first ``positives`` S_j: [..., slots] -> [...]."""
    return similarities.logsumexp(dim=-1) - similarities[..., :positives].mean(dim=-1)


def soft_slots(students: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(softmax(R / T) || softmax(S / T)) of every student from every target, R constant.

    [A, B, slots] and [C, B, slots] -> [A, C, B]
    """
    log_students = (students / temperature).log_softmax(dim=-1)
    log_targets = (targets.detach() / temperature).log_softmax(dim=-1)
    known = log_targets.exp()
    crossed = torch.einsum("cbs,abs->acb", known, log_students)
    return ((known * log_targets).sum(dim=-1).unsqueeze(0) - crossed) * temperature**2


def _right(values: Tensor, places: int) -> Tensor:
    """Shift int64 to the right, with zeros from the left."""
    return (values >> places) & ((1 << (64 - places)) - 1)


def _mixed(values: Tensor) -> Tensor:
    """SplitMix64's output function of a state: int64 that look independent for different states."""
    values = (values ^ _right(values, 30)) * _FIRST
    values = (values ^ _right(values, 27)) * _SECOND
    return values ^ _right(values, 31)

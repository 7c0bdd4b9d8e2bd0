"""Losses that several methods share. Every KL is teacher || student: sum over classes, mean over the batch.

Logits are [..., B, C]; leading axes (peers) are kept, so one call serves all peers. No target is detached here: each
method decides whether a gradient flows into a target.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """CE of each peer: logits [m, B, C], labels [B] -> [m]."""
    peers, batch, classes = logits.shape
    losses = functional.cross_entropy(logits.reshape(-1, classes), labels.repeat(peers), reduction="none")
    return losses.view(peers, batch).mean(dim=1)


def distillation(
    student: Tensor, teacher: Tensor, temperature: float, *, squared: bool = True, epsilon: float = 0.0
) -> Tensor:
    """KD_T(student <- teacher) = T^2 KL(softmax(teacher / T) || softmax(student / T)), shapes [..., B, C] -> [...].

    ``squared=False`` leaves T^2 out; ``epsilon`` is added to every target probability without renormalising, as the
    OKDDip, ONE, FFL and DCCL code does with 1e-7.
    """
    log_student = functional.log_softmax(student / temperature, dim=-1)
    target, log_target = _target(teacher, temperature, epsilon)
    divergence = (target * (log_target - log_student)).sum(dim=-1).mean(dim=-1)
    return divergence * temperature**2 if squared else divergence


def pairwise_distillation(
    students: Tensor, teachers: Tensor, temperature: float, *, squared: bool = True, epsilon: float = 0.0
) -> Tensor:
    """KD_T of every student from every teacher: [m, B, C] and [k, B, C] -> matrix [m, k]."""
    log_students = functional.log_softmax(students / temperature, dim=-1)
    targets, log_targets = _target(teachers, temperature, epsilon)
    negative_entropies = (targets * log_targets).sum(dim=-1).mean(dim=-1)
    crosses = torch.einsum("jbc,ibc->ij", targets, log_students) / students.shape[1]
    divergences = negative_entropies - crosses
    return divergences * temperature**2 if squared else divergences


def _target(teacher: Tensor, temperature: float, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return softened target probabilities and their logarithm."""
    log_target = functional.log_softmax(teacher / temperature, dim=-1)
    target = log_target.exp()
    if epsilon:
        target = target + epsilon
        log_target = target.log()
    return target, log_target


def mean_off_diagonal(matrix: Tensor) -> Tensor:
    """Return the row means without the diagonal, [m, m] -> [m]: for each peer, the mean over the others."""
    peers = matrix.shape[0]
    return (matrix.sum(dim=1) - matrix.diagonal()) / (peers - 1)


def mean_of_others(values: Tensor) -> Tensor:
    """Along the first axis, the mean of all other entries: [m, ...] -> [m, ...]."""
    return (values.sum(dim=0) - values) / (values.shape[0] - 1)


def log_mean_of_others(log_values: Tensor) -> Tensor:
    """`mean_of_others` of values given and returned as logarithms, which stays finite where they underflow."""
    peers = log_values.shape[0]
    own = torch.eye(peers, dtype=torch.bool, device=log_values.device).view(peers, peers, *[1] * (log_values.dim() - 1))
    return log_values.unsqueeze(0).masked_fill(own, -torch.inf).logsumexp(dim=1) - math.log(peers - 1)

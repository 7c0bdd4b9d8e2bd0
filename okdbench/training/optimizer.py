"""The optimiser and its learning rate, as the papers set them."""

import math

import torch

from okdbench.config import MultistepSchedule, TrainingSettings
from okdbench.methods import Method


def sgd(method: Method, training: TrainingSettings) -> torch.optim.SGD:
    """SGD over the method's parameter groups; a group may bring its own settings."""
    settings = training.optimizer
    return torch.optim.SGD(
        method.parameter_groups(),
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )


def learning_rate(training: TrainingSettings, epoch: int) -> float:
    """The rate in force during epoch ``epoch``, counted from 0."""
    schedule, rate = training.schedule, training.optimizer.lr
    if isinstance(schedule, MultistepSchedule):
        return rate * schedule.gamma ** sum(epoch >= milestone for milestone in schedule.milestones)
    return rate * 0.5 * (1.0 + math.cos(math.pi * epoch / training.epochs))

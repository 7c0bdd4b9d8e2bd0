"""The optimisers and their learning rate, as the papers set them."""

import inspect
import math
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from okdbench.config import MultistepSchedule, OptimizerSettings, Schedule, TrainingSettings
from okdbench.methods import Method, ParameterGroup

T = TypeVar("T", bound=torch.optim.Optimizer)


def _uncompiled(kind: type[T]) -> type[T]:
    """Return a class of optimisers whose methods lack torch's wrappers; its ``step`` must be called without gradients.

    torch's own import its compiler when they are first called, to keep out of compiled code. An eager run would wait
    for that as long as for torch itself.
    """
    names = ("add_param_group", "load_state_dict", "state_dict", "step", "zero_grad")
    return type(kind.__name__, (kind,), {name: inspect.unwrap(getattr(kind, name)) for name in names})


_SGD, _Adam = _uncompiled(torch.optim.SGD), _uncompiled(torch.optim.Adam)


class Optimizers:
    """Steps a method's parameter groups together: the run's SGD, and Adam for the groups that ask for it.

    The optimisers are fused (one kernel for many tensors), and their rates are tensors: nothing is read back from the
    device, and a step that was recorded in a graph follows the schedule.
    """

    def __init__(self, method: Method, settings: OptimizerSettings) -> None:
        groups = method.parameter_groups()
        sgd, adam = ([_torch_group(g, settings) for g in groups if g.optimizer == kind] for kind in ("sgd", "adam"))
        by_kind = ([g.schedule for g in groups if g.optimizer == kind] for kind in ("sgd", "adam"))
        self.schedules = [own for own in by_kind if own]
        """Those of the groups of every optimiser, None where it is the run's."""
        self._gated = [group for group in groups if group.gate is not None]
        self._each: list[torch.optim.Optimizer] = []
        if sgd:
            self._each.append(_SGD(sgd, momentum=settings.momentum, nesterov=settings.nesterov, fused=True))
        if adam:
            on_gpu = adam[0]["lr"].is_cuda
            self._each.append(_Adam(adam, fused=True, capturable=on_gpu))

    def set_rate(self, factor: Callable[[Schedule | None], float]) -> None:
        """Set the rate of every scheduled group to ``factor`` times its initial rate, by its schedule."""
        for optimizer, schedules in zip(self._each, self.schedules, strict=True):
            for group, schedule in zip(optimizer.param_groups, schedules, strict=True):
                if group["scheduled"]:
                    group["lr"].fill_(factor(schedule) * group["start"])

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for optimizer in self._each:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update every parameter that has a gradient, and whose gate is not 0."""
        before = [[value.clone() for value in self._gated_tensors(group)] for group in self._gated]
        with torch.no_grad():
            for optimizer in self._each:
                optimizer.step()
        for group, kept in zip(self._gated, before, strict=True):
            assert group.gate is not None
            opened = group.gate > 0
            for value, old in zip_longest(self._gated_tensors(group), kept):  # a first step makes the optimiser's state
                value.copy_(torch.where(opened, value, torch.zeros_like(value) if old is None else old))

    def _gated_tensors(self, group: ParameterGroup) -> Iterator[Tensor]:
        """Yield what a step may change of a group: its parameters, then the state that the optimisers have of them."""
        yield from (parameter.detach() for parameter in group.parameters)
        for parameter in group.parameters:
            for state in (optimizer.state.get(parameter, {}) for optimizer in self._each):
                yield from (value for value in state.values() if isinstance(value, Tensor))

    def reset(self) -> None:
        """Start momenta, moments and counts of steps from zero, as new optimisers would."""
        for value in self.tensors():
            value.zero_()

    def tensors(self) -> Iterator[Tensor]:
        """Yield all tensors of the optimisers' state."""
        for optimizer in self._each:
            for state in optimizer.state.values():
                yield from (value for value in state.values() if isinstance(value, Tensor))

    def state(self) -> list[dict[str, Any]]:
        """Return the optimisers' state: momenta, moments and rates."""
        return [optimizer.state_dict() for optimizer in self._each]

    def load(self, state: list[dict[str, Any]]) -> None:
        """Continue from what `state` returned."""
        for optimizer, own in zip(self._each, state, strict=True):
            here = [(group["lr"], group.get("capturable")) for group in optimizer.param_groups]
            optimizer.load_state_dict(own)
            for group, (rate, capturable) in zip(optimizer.param_groups, here, strict=True):
                group["lr"] = rate.copy_(group["lr"])  # loaded ones are on the CPU
                if capturable is not None:
                    group["capturable"] = capturable  # depends on the device, which may have changed


def _torch_group(group: ParameterGroup, settings: OptimizerSettings) -> dict[str, Any]:
    """Return the group as torch's optimisers take it, with the entries that `Optimizers.set_rate` reads."""
    start = settings.lr if group.lr is None else group.lr
    decay = settings.weight_decay if group.weight_decay is None else group.weight_decay
    parameters: list[nn.Parameter] = group.parameters
    return {
        "params": parameters,
        "lr": _rate(start, parameters),
        "weight_decay": decay,
        "start": start,
        "scheduled": group.scheduled,
    }


def _rate(value: float, parameters: list[nn.Parameter]) -> Tensor:
    """Return a 0-d rate in the precision that fused optimisers read: float32 on a GPU, float64 on the CPU."""
    device = parameters[0].device
    return torch.tensor(value, dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)


def rate_factor(
    training: TrainingSettings, epoch: int, step: int = 0, steps: int = 1, schedule: Schedule | None = None
) -> float:
    """Return the factor on the rates in step ``step`` of ``steps`` of epoch ``epoch``, both counted from 0.

    It is that of the run's schedule, or of another.
    """
    schedule = schedule or training.schedule
    if isinstance(schedule, MultistepSchedule):
        if schedule.warmup:
            passed = (step + 1) / steps if schedule.warmup_every == "step" else 1.0
            warmed = (schedule.warmup_done + epoch + passed) / schedule.warmup
            if warmed < 1.0:
                return warmed
        return schedule.gamma ** sum(epoch >= milestone for milestone in schedule.milestones)
    return 0.5 * (1.0 + math.cos(math.pi * epoch / training.epochs))


def starts_anew(schedule: Schedule, epoch: int) -> bool:
    """Return whether the optimiser's state is that of a new one at the start of epoch ``epoch``."""
    return isinstance(schedule, MultistepSchedule) and schedule.reset_momentum and epoch in schedule.milestones


def rises_by_step(schedule: Schedule, epoch: int) -> bool:
    """Return whether the rate changes within epoch ``epoch``."""
    if not isinstance(schedule, MultistepSchedule) or schedule.warmup_every == "epoch":
        return False
    return epoch + schedule.warmup_done < schedule.warmup

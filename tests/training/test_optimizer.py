"""Several groups under one step: rates, decay, schedules, and Adam beside SGD."""

import pytest
import torch
from golden.checker import load
from methods.build import batch, method
from torch import nn

from okdbench.config import MultistepSchedule, OptimizerSettings, TrainingSettings
from okdbench.methods import ParameterGroup, configure
from okdbench.plan import Selection, expand
from okdbench.recipe import load as load_recipe
from okdbench.training.optimizer import Optimizers, rate_factor
from okdbench.training.step import Step

SETTINGS = OptimizerSettings(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)


class Several(nn.Module):
    """Four parameters that are optimised differently."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.light, self.frozen_rate, self.adam = (nn.Parameter(torch.ones(3)) for _ in range(4))

    def parameter_groups(self) -> list[ParameterGroup]:
        return [
            ParameterGroup([self.plain]),
            ParameterGroup([self.light], lr=0.2, weight_decay=0.0),
            ParameterGroup([self.frozen_rate], scheduled=False),
            ParameterGroup([self.adam], optimizer="adam", lr=1e-3, weight_decay=1e-4),
        ]


def train(module: Several, optimizers: Optimizers, factors: list[float]) -> None:
    for factor in factors:
        optimizers.set_rate(lambda schedule, factor=factor: factor)
        optimizers.zero_grad()
        sum((p**3).sum() for p in module.parameters()).backward()
        optimizers.step()


def alone(kind: type[torch.optim.Optimizer], rates: list[float], **settings: float) -> torch.Tensor:
    """The same parameter under torch's own optimiser with these rates, step by step."""
    parameter = nn.Parameter(torch.ones(3))
    optimizer = kind([parameter], lr=rates[0], fused=True, **settings)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        (parameter**3).sum().backward()
        optimizer.step()
    return parameter


def test_each_group_moves_as_under_an_optimiser_of_its_own() -> None:
    module, factors = Several(), [1.0, 0.1]
    train(module, Optimizers(module, SETTINGS), factors)
    sgd = {"momentum": 0.9, "nesterov": True}
    assert torch.equal(module.plain, alone(torch.optim.SGD, [0.1, 0.01], weight_decay=0.01, **sgd))
    assert torch.equal(module.light, alone(torch.optim.SGD, [0.2, 0.02], weight_decay=0.0, **sgd))
    assert torch.equal(module.frozen_rate, alone(torch.optim.SGD, [0.1, 0.1], weight_decay=0.01, **sgd))
    assert torch.equal(module.adam, alone(torch.optim.Adam, [1e-3, 1e-4], weight_decay=1e-4))


def test_it_continues_from_its_state() -> None:
    whole, first = Several(), Several()
    train(whole, Optimizers(whole, SETTINGS), [1.0, 0.1, 0.1])
    before = Optimizers(first, SETTINGS)
    train(first, before, [1.0])
    second = Several()
    second.load_state_dict(first.state_dict())
    after = Optimizers(second, SETTINGS)
    after.load(before.state())
    train(second, after, [0.1, 0.1])
    assert all(torch.equal(one, two) for one, two in zip(whole.parameters(), second.parameters(), strict=True))


def test_what_a_device_needs_is_not_taken_from_another() -> None:
    module = Several()
    optimizers, elsewhere = Optimizers(module, SETTINGS), Optimizers(Several(), SETTINGS)
    state = elsewhere.state()
    for group in state[1]["param_groups"]:
        group["capturable"] = True
    optimizers.load(state)
    assert [group["capturable"] for group in optimizers.state()[1]["param_groups"]] == [False]


def test_warm_up_rises_in_equal_steps_to_the_rate() -> None:
    schedule = MultistepSchedule(name="multistep", milestones=(6,), warmup=5)
    training = TrainingSettings(epochs=8, optimizer=SETTINGS, schedule=schedule)
    factors = [rate_factor(training, epoch) for epoch in range(8)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 0.1, 0.1])


class Two(Several):
    """A group that follows the run's schedule, and one that follows its own."""

    own = MultistepSchedule(name="multistep", milestones=(1,), gamma=0.5)

    def parameter_groups(self) -> list[ParameterGroup]:
        adam = ParameterGroup([self.adam], optimizer="adam", lr=1e-3, schedule=self.own)
        return [ParameterGroup([self.plain, self.light, self.frozen_rate]), adam]


def test_a_group_may_have_a_schedule_of_its_own() -> None:
    module = Two()
    optimizers = Optimizers(module, SETTINGS)
    run = TrainingSettings(epochs=4, optimizer=SETTINGS, schedule={"name": "multistep", "milestones": [2]})
    rates = []
    for epoch in range(3):
        optimizers.set_rate(lambda schedule, epoch=epoch: rate_factor(run, epoch, schedule=schedule))
        rates.append([float(group["lr"]) for each in optimizers.state() for group in each["param_groups"]])
    assert rates == [pytest.approx(pair) for pair in ([0.1, 1e-3], [0.1, 5e-4], [0.01, 5e-4])]


def test_imagenet_schedules_of_ffsd() -> None:
    """At the first and the last step of every epoch, as the authors' scripts set them (golden numbers)."""
    golden = load("schedule.json", "fusion")["ffsd_imagenet"]
    config = expand(load_recipe("ffsd-imagenet"), Selection(methods=("ffsd",))).runs[0].config
    training, steps = config.training, golden["steps_per_epoch"]
    own = configure("ffsd", config.settings).sd_schedule
    assert training.epochs == len(golden["lr_first_step"])
    for epoch, (first, last) in enumerate(zip(golden["lr_first_step"], golden["lr_last_step"], strict=True)):
        ends = [0.1 * rate_factor(training, epoch, step, steps) for step in (0, steps - 1)]
        assert ends == pytest.approx([first, last], rel=1e-12)
    adam = [1e-3 * rate_factor(training, epoch, schedule=own) for epoch in range(training.epochs)]
    assert adam == pytest.approx(golden["self_distillation_adam"]["lr"], rel=1e-12)


def test_a_warm_up_can_rise_at_every_step() -> None:
    settings = {"milestones": [3], "warmup": 3, "warmup_every": "step", "warmup_done": 1}
    training = TrainingSettings(epochs=4, optimizer=SETTINGS, schedule={"name": "multistep", **settings})
    step = Step(method("baseline"), training)
    seen = []
    for epoch in range(4):
        step.begin_epoch(epoch, steps=2)
        for number in range(2):
            step(batch(), number)
            seen.append(
                (float(step.progress.rate), step.rate, float(step.optimizers.state()[0]["param_groups"][0]["lr"]))
            )
    factors = [1.5 / 3, 2 / 3, 2.5 / 3, 1, 1, 1, 0.1, 0.1]
    assert seen == [pytest.approx([0.1 * factor] * 3, rel=1e-6) for factor in factors]
    with pytest.raises(ValueError, match="warmup_done must be below warmup"):
        MultistepSchedule(name="multistep", milestones=(), warmup=2, warmup_done=2)

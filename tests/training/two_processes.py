"""Started by torchrun twice: trains together and alone, and leaves in OUT/RANK.pt what came out of both.

torchrun --nproc-per-node 2 two_processes.py OUT
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from okdbench import networks
from okdbench.config import AverageSettings, CosineSchedule, OptimizerSettings, TrainingSettings
from okdbench.methods import Batch, Build, Method, MethodConfig, ParameterGroup, Progress, configure, get
from okdbench.seeds import seeded
from okdbench.training.average import Average
from okdbench.training.distributed import ALONE, Processes, joined
from okdbench.training.step import Step

CPU = torch.device("cpu")
BATCH, STEPS = 8, 4
TRAINING = TrainingSettings(
    epochs=2,
    batch_size=BATCH,
    optimizer=OptimizerSettings(lr=0.1),
    schedule=CosineSchedule(name="cosine"),
    ema=AverageSettings(decay=0.5),
)


class Several(Method):
    """All that a method may do, without batch statistics: two optimisers, updates in turn, a teacher, a meta step."""

    name = "several"
    meta_every = 2

    def __init__(self, build: Build, config: MethodConfig) -> None:
        super().__init__(build, config)
        with build.keyed_init():
            self.one, self.two = (nn.Sequential(nn.Flatten(), nn.Linear(48, 5)) for _ in range(2))
            self.teacher = nn.Linear(48, 5).requires_grad_(False)
            self.weight = nn.Parameter(torch.zeros(5))
        self.register_buffer("velocity", torch.zeros(5))

    def parameter_groups(self) -> list[ParameterGroup]:
        return [
            ParameterGroup([*self.one.parameters()]),
            ParameterGroup([*self.two.parameters()], optimizer="adam", lr=0.01),
        ]

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        raise AssertionError("the training step computes each term after the update of the one before")

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        return {"student": self.one(images)}

    def training_step(self, batch: Batch, progress: Progress, update: Callable[[Tensor], None]) -> dict[str, Tensor]:
        terms = {"one": cross_entropy(self.one(batch.views[0]), batch.labels)}
        update(terms["one"])
        distance = self.two(batch.views[0]) - self.one(batch.views[0]).detach()
        terms["two"] = (self.weight.detach().exp() * distance.square()).mean()
        update(terms["two"])
        return terms

    def after_step(self, progress: Progress) -> None:
        for mine, its in zip(self.teacher.parameters(), self.one.parameters(), strict=True):
            mine.data.lerp_(its.data, 0.5)

    def meta_step(self, batch: Batch, progress: Progress) -> None:
        loss = cross_entropy(self.weight * self.one(batch.views[0]).detach(), batch.labels)
        [gradient] = torch.autograd.grad(loss, [self.weight])
        with torch.no_grad():
            self.velocity.mul_(0.9).add_(gradient)
            self.weight.sub_(progress.rate * self.velocity)


def batch(number: int, places: range, size: int = 4) -> Batch:
    draws = torch.Generator().manual_seed(number)
    images = torch.randn(BATCH, 3, size, size, generator=draws, dtype=torch.float64)
    labels = torch.randint(5, (BATCH,), generator=draws)
    return Batch((images[places.start : places.stop],), labels[places.start : places.stop])


def train(method: Method, processes: Processes, size: int = 4) -> dict[str, Any]:
    """The states after every step, and the mean losses."""
    step = Step(method.double().train(), TRAINING, processes)
    step.begin_epoch(0)
    states = []
    for number in range(STEPS):
        step(batch(number, processes.part(range(BATCH)), size), number)
        states.append({name: value.clone() for name, value in method.state_dict().items()})
    average = step.average
    assert isinstance(average, Average)
    return {"states": states, "losses": step.mean_losses(), "average": average.method.state_dict()}


def several() -> Method:
    return Several(Build([networks.get("resnet8")], 5, seed=0), MethodConfig())


def real(name: str, **settings: Any) -> Method:
    return get(name)(Build([networks.get("resnet8")], 5, seed=0), configure(name, settings))


def exchanges(processes: Processes) -> dict[str, Any]:
    """Every kind of exchange, of tensors of several types and layouts and of more bytes than go into one message."""
    rank = processes.rank
    layout = torch.full((2, 3, 4, 4), float(rank)).contiguous(memory_format=torch.channels_last)
    averaged = [layout, torch.full((), 10.0 * rank, dtype=torch.float64), torch.full((9_000_000,), float(rank))]
    processes.average(averaged)
    copied = [torch.arange(3) + rank, torch.full((2, 2), 5.0 + rank)]
    processes.copy_first(copied)
    summed = torch.tensor([1.0 + rank])
    processes.combine(summed)
    with seeded(0, "step", 7, 3, *processes.key):
        drawn = torch.rand(())
    return {
        "averaged": [averaged[0].clone(), averaged[1], averaged[2][::1_000_000].clone()],
        "contiguous": averaged[0].is_contiguous(memory_format=torch.channels_last),
        "copied": copied,
        "summed": summed,
        "mean": processes.mean({"a": torch.tensor(1.0 * rank), "b": torch.tensor(4.0)}),
        "any": (processes.any(rank == 1), processes.any(False)),
        "value": processes.from_first({"rank": rank}),
        "drawn": drawn,
    }


def main(out: Path) -> None:
    torch.set_num_threads(1)
    with joined(CPU) as processes:
        found = {
            "size": processes.size,
            "exchanges": exchanges(processes),
            "together": train(several(), processes),
            "alone": train(several(), ALONE),
            "baseline": train(real("baseline"), processes, size=8),
            "l-mcl": train(real("l-mcl", meta_every=1, images_per_class=0), processes, size=8),
        }
        if processes.first:  # one process on the first half alone: whose batch statistics must be kept
            step = Step(real("baseline").double().train(), TRAINING)
            step.begin_epoch(0)
            step(batch(0, range(BATCH // 2), 8))
            found["first half"] = step.method.state_dict()
        torch.save(found, out / f"{processes.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

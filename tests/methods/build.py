"""Methods on a small network, and their inputs."""

from dataclasses import replace

import torch
from torch import Tensor

from okdbench import networks
from okdbench.methods import Batch, Build, Method, Progress, configure, get
from okdbench.networks import AuxiliaryExit, Branch


def exits(classes: int) -> list[AuxiliaryExit]:
    """An exit from the stem's map and one from that of the first stage."""
    parts = [networks.get("resnet8").build(classes) for _ in range(2)]
    return [AuxiliaryExit(after, Branch(each, after)) for after, each in enumerate(parts)]


RESNET8 = replace(networks.get("resnet8"), light_exits=exits)
"""With light exits, which it does not have by itself."""


def method(label: str, network: str = "resnet8", classes: int = 10, seed: int = 0, **settings: object) -> Method:
    """The method of that label with some settings changed, in train mode."""
    config = configure(label, settings)
    return get(label.partition("@")[0])(Build([networks.get(network)], classes, seed), config).train()


def batch(views: int = 1, count: int = 8, classes: int = 10, seed: int = 0) -> Batch:
    """Float32 noise."""
    generator = torch.Generator().manual_seed(seed)
    images = tuple(torch.randn(count, 3, 32, 32, generator=generator) for _ in range(views))
    return Batch(images, torch.randint(classes, (count,), generator=generator))


def progress(m: Method, epoch: int = 0, step: int = 0) -> Progress:
    """Where training stands at the start of an epoch of 300."""
    weights = {name: torch.tensor(value) for name, value in m.schedule(epoch, 300).items()}
    return Progress(torch.tensor(float(epoch)), torch.tensor(float(step)), weights)


def train(m: Method, steps: int = 1, lr: float = 0.1, seed: int = 0) -> None:
    """Plain SGD steps, each on a batch of its own."""
    optimizer = torch.optim.SGD([p for group in m.parameter_groups() for p in group.parameters], lr=lr)

    def update(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for step in range(steps):
        now = progress(m, step=step)
        m.training_step(batch(m.views, seed=seed + step), now, update)
        m.after_step(now)

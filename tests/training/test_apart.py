"""What several processes share of a run, and what each keeps for itself."""

from collections.abc import Iterable

import pytest
import torch
from methods.build import RESNET8
from torch import Tensor

from okdbench.config import CosineSchedule, OptimizerSettings, TrainingSettings
from okdbench.methods import Batch, Build, configure, get
from okdbench.methods.l_mcl import LMCL
from okdbench.seeds import seeded
from okdbench.training.distributed import Processes
from okdbench.training.loop import draw_apart
from okdbench.training.step import Step

TRAINING = TrainingSettings(
    epochs=1, batch_size=4, optimizer=OptimizerSettings(lr=0.1), schedule=CosineSchedule(name="cosine")
)


class Watched(Processes):
    """A single process that notes what it would exchange with others."""

    def __init__(self, rank: int = 0) -> None:
        super().__init__(rank, 1)
        self.averaged = list[Tensor]()
        self.gathered = list[Tensor]()

    def average(self, tensors: Iterable[Tensor]) -> None:
        self.averaged += tensors

    def gather(self, rows: Tensor) -> Tensor:
        self.gathered.append(rows)
        return rows


def method(preset: str) -> LMCL:
    m = get("l-mcl")(Build([RESNET8], 10, seed=0), configure(f"l-mcl@{preset}", {"meta_every": 0, "negatives": 5}))
    assert isinstance(m, LMCL)
    with seeded(0, "memory"):
        m.remember(torch.arange(30) % 10)
    return m.train()


@pytest.mark.parametrize(("preset", "shared"), [("imagenet", True), ("imagenet-released", False)])
def test_heads_and_aggregators_are_synchronised_unless_told_otherwise(preset: str, shared: bool) -> None:
    m, processes = method(preset), Watched()
    own = {id(p) for module in (m.embeddings, m.aggregators) for p in module.parameters()}
    assert {id(p) for p in m.apart()} == (set() if shared else own)
    step = Step(m, TRAINING, processes)
    step.begin_epoch(0)
    index = torch.tensor([0, 3, 7, 12])
    step(Batch((torch.rand(4, 3, 32, 32),), index % 10, index), 1)
    exchanged = {gradient.data_ptr() for gradient in processes.averaged}
    for parameter in m.parameters():
        if parameter.grad is not None:
            assert (parameter.grad.data_ptr() in exchanged) == (shared or id(parameter) not in own)
    rows, embeddings = processes.gathered[1], processes.gathered[0]
    assert torch.equal(rows, index), "banks learn from the images of all processes"
    assert embeddings.shape == (4, 2, 128)


def test_what_is_apart_starts_apart() -> None:
    m = method("imagenet-released")
    before = {name: value.clone() for name, value in m.state_dict().items()}
    draw_apart(m, Watched(rank=0))
    assert all(torch.equal(value, before[name]) for name, value in m.state_dict().items())
    with seeded(0, "method", 1):
        draw_apart(m, Watched(rank=1))
    changed = {name for name, value in m.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith(("embeddings.", "aggregators."))}

"""What a plan will cost before anything is trained: parameters, and arithmetic counted on the meta device."""

from dataclasses import dataclass

import torch
from torch import nn

from okdbench import data, methods, networks
from okdbench.methods import Batch, Build, Method, Progress
from okdbench.networks.measure import count_macs
from okdbench.recipe.expand import Cell, Plan

BACKWARD = 2
"""A backward pass computes two gradients per layer, so it costs two forward passes."""


@dataclass(frozen=True)
class CellCost:
    """One cell. ``parameters`` are those trained; ``macs`` of one plain network's forward pass over one image.

    ``step`` is the arithmetic of a training step relative to the plain network's (forward and backward of every view
    and peer, and forward passes without gradient); ``petaflop`` is that of all the cell's runs, evaluation included.
    """

    cell: Cell
    parameters: int
    macs: int
    step: float
    petaflop: float


def estimate(plan: Plan) -> list[CellCost]:
    """The cost of every cell that can be trained, in the plan's order."""
    return [_cell(cell) for cell in plan.cells if cell.runs]


def _cell(cell: Cell) -> CellCost:
    config = cell.runs[0].config
    dataset = data.get(config.dataset)
    architecture = networks.get(config.network)
    kind = methods.get(config.method)
    with torch.device("meta"):
        method = kind(Build([architecture], dataset.classes, seed=0), kind.Config(**config.settings)).train()
        plain = networks.Single(architecture.build(dataset.classes))
    size = dataset.image_size
    single = _forward(plain, size)
    step = _step(method, size)
    test = _forward(method, size)
    trained = config.data.subset or dataset.train_size
    tested = config.data.test_subset or dataset.test_size
    per_epoch = trained * step + tested * test
    return CellCost(
        cell,
        parameters=sum(p.numel() for group in method.parameter_groups() for p in group["params"]),
        macs=round(single),
        step=step / ((1 + BACKWARD) * single),
        petaflop=2 * per_epoch * config.training.epochs * len(cell.runs) / 1e15,
    )


def _step(method: Method, size: int) -> float:
    """MACs per image of one training step; batch statistics want more than one image."""
    images = 2
    views = tuple(torch.zeros(images, 3, size, size, device="meta") for _ in range(method.views))
    batch = Batch(views, torch.zeros(images, dtype=torch.long, device="meta"))
    scalar = torch.zeros((), device="meta")
    weights = dict.fromkeys(method.schedule(0, 1), scalar)
    with count_macs(method) as counted:
        method.training_step(batch, Progress(scalar, scalar, weights), lambda loss: None)
    return (counted.with_gradient * (1 + BACKWARD) + counted.without_gradient) / images


def _forward(module: nn.Module, size: int) -> float:
    """MACs per image of one pass in eval mode: a network's, or that of all heads of a method."""
    images = torch.zeros(1, 3, size, size, device="meta")
    module.eval()
    with torch.no_grad(), count_macs(module) as counted:
        module.predict(images) if isinstance(module, Method) else module(images)
    return counted.without_gradient

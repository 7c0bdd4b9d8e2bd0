"""What a plan will cost, estimated before anything is trained: parameters, and arithmetic counted without weights."""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import nn

from okdbench import data, methods, networks
from okdbench.config import LearningConfig, MultistepSchedule, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.kept import kept
from okdbench.methods import Method
from okdbench.methods.base import blank_step
from okdbench.networks.counting import CostCounter, weightless
from okdbench.plan.table import Cell, Plan

BACKWARD = 2
"""A backward pass computes two gradients per layer, so it costs two forward passes."""

# The model behind the hours, of plain eager training on one H200: small networks wait for the host, which needs these
# times to launch each operation, large ones for the arithmetic, which reaches a third of the tensor cores' 790 TFLOP/s.
FORWARD_LAUNCH, BACKWARD_LAUNCH, STEP_OVERHEAD = 13e-6, 9e-6, 2.5e-3  # seconds
FLOPS = 0.35 * 790e12

METRICS_LINE, METRICS_OF_HEAD = 130, 145
"""Bytes of a line of metrics, and of each head in it, measured on published records."""
CHECKPOINTS_AT_ONCE = 3
"""The two that are kept, and the one that is being written."""


@dataclass(frozen=True)
class RunCost:
    """One run; see `CellCost`.

    ``stored`` is how many bytes its folder takes when it is done, ``working`` while it is trained, with checkpoints.
    """

    config: LearningConfig
    parameters: int
    macs: int
    step: float
    petaflop: float
    gpu_hours: float
    stored: int
    working: int


@dataclass(frozen=True)
class CellCost:
    """One cell. ``parameters`` are those trained; ``macs`` of one plain network's forward pass over one image.

    ``step`` is the arithmetic of a training step relative to the plain network's (forward and backward of every view
    and peer, forward passes without gradient, and a share of the meta steps); ``petaflop`` is that of all the cell's
    runs, evaluation included. For several networks the plain network is their mean. ``gpu_hours`` is an
    estimate from a model of one GPU, not a measurement.
    """

    cell: Cell
    parameters: int
    macs: int
    step: float
    petaflop: float
    gpu_hours: float

    @property
    def config(self) -> LearningConfig:
        """The configuration of the first run."""
        return self.cell.runs[0].config


def estimate(plan: Plan) -> list[CellCost]:
    """Return the cost of every cell that can be trained, in order; cells that read the same runs count once."""
    trained: dict[tuple[str, ...], Cell] = {}
    for cell in plan.cells:
        if cell.runs:
            trained.setdefault(tuple(run.id for run in cell.runs), cell)
    return [_cell(cell) for cell in trained.values()]


def step_macs(config: RunConfig) -> float:
    """Return MACs of one training step of the run for each image, its share of the meta steps included."""
    work = _work(config)
    return work.part(_epoch(config, work)[1]).macs


def relative_step(config: RunConfig) -> float:
    """Return the arithmetic of one training step of the run, relative to the plain network's; see `CellCost`."""
    return run_cost(config).step


def relative_cost(method: str) -> float:
    """Return the arithmetic of a step of the method's preset "paper" on ResNet-8 and CIFAR-100; plain training is 1."""
    settings = TrainingSettings(
        epochs=300, optimizer=OptimizerSettings(lr=0.1), schedule=MultistepSchedule(name="multistep", milestones=())
    )
    plain = RunConfig(dataset="cifar100", network="resnet8", method="baseline", settings={}, training=settings, seed=0)
    teacher = plain if methods.get(method).needs_teacher else None
    run = plain.model_copy(update={"method": method, "teacher": teacher})
    return step_macs(run) / step_macs(plain)


def _cell(cell: Cell) -> CellCost:
    cost, runs = cell.runs[0].cost(), len(cell.runs)
    return CellCost(cell, cost.parameters, cost.macs, cost.step, cost.petaflop * runs, cost.gpu_hours * runs)


def run_cost(config: RunConfig) -> RunCost:
    """Return what one training costs; that of its teacher is not included."""
    work = _work(config)
    trained, steps = _epoch(config, work)
    tested = (config.data.test_subset or data.get(config.dataset).test_size) + config.data.validation
    epochs, batch = config.training.epochs, config.training.batch_size
    step = work.part(steps)
    seconds = steps * max(step.launches, batch * 2 * step.macs / FLOPS) + 2 * tested * work.test / FLOPS
    metrics = epochs * (METRICS_LINE + work.heads * METRICS_OF_HEAD)
    return RunCost(
        config,
        parameters=work.parameters,
        macs=round(work.single),
        step=step.macs / ((1 + BACKWARD) * work.single),
        petaflop=2 * (trained * step.macs + tested * work.test) * epochs / 1e15,
        gpu_hours=epochs * seconds / 3600,
        stored=work.weights + metrics,
        working=work.weights + metrics + CHECKPOINTS_AT_ONCE * work.checkpoint,
    )


def _work(config: RunConfig) -> "_Work":
    """Return the work of the run on one image, which does not depend on its seed."""
    return _measure(config.model_copy(update={"seed": 0}).model_dump_json())


def trained_images(config: RunConfig) -> int:
    """Return how many images the run trains on."""
    return config.data.subset or data.get(config.dataset).train_size - config.data.validation


def _epoch(config: RunConfig, work: "_Work") -> tuple[int, int]:
    """Return the numbers of images and steps of an epoch."""
    batches = data.EpochBatches(trained_images(config), config.training.batch_size, work.images_per_class)
    return batches.trained, batches.steps


class _Part(NamedTuple):
    """MACs per image, and how many seconds the host needs to launch it."""

    macs: float
    launches: float


class _Work(NamedTuple):
    """Trained parameters; MACs per image of a plain network's pass, a training step and a test of all heads.

    ``launches`` is how many seconds the host needs for one step. ``meta_step`` follows every ``meta_every``-th step
    of an epoch. ``weights`` and ``checkpoint`` are the bytes of those files, ``heads`` how many heads are tested.
    """

    parameters: int
    single: float
    step: float
    test: float
    launches: float
    images_per_class: int
    meta_every: int
    meta_step: _Part | None
    weights: int
    checkpoint: int
    heads: int

    def part(self, steps: int) -> _Part:
        """Return the part of one training step with its share of the meta steps, in epochs of ``steps`` steps."""
        if not self.meta_step or not steps:
            return _Part(self.step, self.launches)
        share = -(-steps // self.meta_every) / steps
        return _Part(self.step + share * self.meta_step.macs, self.launches + share * self.meta_step.launches)


@cache
def _measure(text: str) -> _Work:
    """Return what one run does to one image; the argument is its configuration as JSON."""
    return kept("costs", text, _Work, lambda: _count(RunConfig.model_validate_json(text)))


def _count(config: RunConfig) -> _Work:
    """Count what one run does to one image."""
    dataset = data.get(config.dataset)
    with weightless():
        plain = [networks.Single(each.build(dataset.classes)) for each in networks.several(config.network)]
        method = methods.make(config, dataset.classes).train()
    groups = method.parameter_groups()
    step = _step(method, dataset.image_size)
    meta_step = _meta_step(method, dataset.image_size) if method.meta_every else None
    copies = 2 if config.training.ema else 1  # the method, and its moving average
    weights = sum(tensor.numel() * tensor.element_size() for tensor in method.state_dict().values())
    moments = sum(
        parameter.numel() * parameter.element_size() * (2 if group.optimizer == "adam" else 1)
        for group in groups
        for parameter in group.parameters
    )
    return _Work(
        parameters=sum(parameter.numel() for group in groups for parameter in group.parameters),
        single=sum(_forward(each, dataset.image_size) for each in plain) / len(plain),
        step=step.macs,
        test=copies * _forward(method, dataset.image_size),
        launches=step.launches,
        images_per_class=method.images_per_class,
        meta_every=method.meta_every,
        meta_step=meta_step,
        weights=weights,
        checkpoint=copies * weights + moments,
        heads=copies * len(method.heads()),
    )


def _step(method: Method, size: int) -> _Part:
    """Count one training step, of which only the forward passes are run."""
    batch, progress = blank_step(method, size)
    with CostCounter() as counted:
        method.training_step(batch, progress, lambda loss: None)
    trained, other = counted.with_gradient, counted.without_gradient
    seconds = FORWARD_LAUNCH * (trained.launches + other.launches) + BACKWARD_LAUNCH * trained.launches
    return _Part(((1 + BACKWARD) * trained.macs + other.macs) / len(batch.labels), STEP_OVERHEAD + seconds)


def _meta_step(method: Method, size: int) -> _Part:
    """Count one meta step, run as a whole, because it may differentiate gradients."""
    batch, progress = blank_step(method, size)
    with CostCounter() as counted:
        method.meta_step(batch, progress)
    parts = counted.with_gradient, counted.without_gradient
    seconds = STEP_OVERHEAD + FORWARD_LAUNCH * sum(part.launches for part in parts)
    return _Part(sum(part.macs for part in parts) / len(batch.labels), seconds)


def _forward(module: nn.Module, size: int) -> float:
    """Return MACs per image of one pass in eval mode: a network's, or that of all heads of a method."""
    images = torch.zeros(1, 3, size, size, device="meta")
    module.eval()
    with torch.no_grad(), CostCounter() as counted:
        module.predict(images) if isinstance(module, Method) else module(images)
    return counted.without_gradient.macs

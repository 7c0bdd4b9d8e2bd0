"""What a plan will cost before anything is trained: parameters, and arithmetic counted on the meta device."""

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from okdbench import data, methods, networks
from okdbench.config import RunConfig
from okdbench.methods import Batch, Build, Method, Progress
from okdbench.networks.measure import count_macs
from okdbench.recipe.expand import Cell, Plan

BACKWARD = 2
"""A backward pass computes two gradients per layer, so it costs two forward passes."""

# The model behind the hours, of plain eager training on one H200: small networks wait for the host, which needs so long
# to launch each operation, large ones for the arithmetic, which reaches a third of the tensor cores' 790 TFLOP/s.
FORWARD_LAUNCH, BACKWARD_LAUNCH, STEP_OVERHEAD = 13e-6, 9e-6, 2.5e-3  # seconds
FLOPS = 0.35 * 790e12


@dataclass(frozen=True)
class CellCost:
    """One cell. ``parameters`` are those trained; ``macs`` of one plain network's forward pass over one image.

    ``step`` is the arithmetic of a training step relative to the plain network's (forward and backward of every view
    and peer, and forward passes without gradient); ``petaflop`` is that of all the cell's runs, evaluation included.
    ``gpu_hours`` is an estimate from a model of one GPU, not a measurement.
    """

    cell: Cell
    parameters: int
    macs: int
    step: float
    petaflop: float
    gpu_hours: float


def estimate(plan: Plan) -> list[CellCost]:
    """The cost of every cell that can be trained, in the plan's order."""
    return [_cell(cell) for cell in plan.cells if cell.runs]


def _cell(cell: Cell) -> CellCost:
    config = cell.runs[0].config
    dataset = data.get(config.dataset)
    work = _measure(config.model_copy(update={"seed": 0}).model_dump_json())
    trained = config.data.subset or dataset.train_size - config.data.validation
    tested = (config.data.test_subset or dataset.test_size) + config.data.validation
    per_epoch = trained * work.step + tested * work.test
    epochs, batch = config.training.epochs * len(cell.runs), config.training.batch_size
    steps = -(-trained // batch)
    return CellCost(
        cell,
        parameters=work.parameters,
        macs=round(work.single),
        step=work.step / ((1 + BACKWARD) * work.single),
        petaflop=2 * per_epoch * epochs / 1e15,
        gpu_hours=epochs
        * (steps * max(work.launches, batch * 2 * work.step / FLOPS) + 2 * tested * work.test / FLOPS)
        / 3600,
    )


class _Work(NamedTuple):
    """Trained parameters; MACs per image of a plain network's pass, a training step and a test of all heads.

    ``launches`` is how many seconds the host needs for one step.
    """

    parameters: int
    single: float
    step: float
    test: float
    launches: float


@cache
def _measure(text: str) -> _Work:
    """Count what one run does to one image; the argument is its configuration as JSON."""
    config = RunConfig.model_validate_json(text)
    dataset = data.get(config.dataset)
    with torch.device("meta"):
        plain = networks.Single(networks.get(config.network).build(dataset.classes))
        method = _build(config, dataset.classes).train()
    groups = method.parameter_groups()
    step, launches = _step(method, dataset.image_size)
    return _Work(
        parameters=sum(parameter.numel() for group in groups for parameter in group["params"]),
        single=_forward(plain, dataset.image_size),
        step=step,
        test=_forward(method, dataset.image_size),
        launches=launches,
    )


class _Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the seconds that the host needs to launch what runs inside the block."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds = STEP_OVERHEAD

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and func is not torch.ops.aten.empty.memory_format:
            self.seconds += FORWARD_LAUNCH + (BACKWARD_LAUNCH if torch.is_grad_enabled() else 0.0)
        return func(*args, **(kwargs or {}))


def _build(config: RunConfig, classes: int) -> Method:
    """The run's method and its teacher's, without weights."""
    teacher = _build(config.teacher, classes) if config.teacher else None
    kind = methods.get(config.method)
    return kind(Build([networks.get(config.network)], classes, 0, teacher), kind.Config(**config.settings))


def _step(method: Method, size: int) -> tuple[float, float]:
    """MACs per image and launch seconds of one training step; batch statistics want more than one image."""
    images = 2
    views = tuple(torch.zeros(images, 3, size, size, device="meta") for _ in range(method.views))
    batch = Batch(views, torch.zeros(images, dtype=torch.long, device="meta"))
    scalar = torch.zeros((), device="meta")
    weights = dict.fromkeys(method.schedule(0, 1), scalar)
    with count_macs(method) as counted, _Launches() as launched:
        method.training_step(batch, Progress(scalar, scalar, weights), lambda loss: None)
    macs = (counted.with_gradient * (1 + BACKWARD) + counted.without_gradient) / images
    return macs, launched.seconds


def _forward(module: nn.Module, size: int) -> float:
    """MACs per image of one pass in eval mode: a network's, or that of all heads of a method."""
    images = torch.zeros(1, 3, size, size, device="meta")
    module.eval()
    with torch.no_grad(), count_macs(module) as counted:
        module.predict(images) if isinstance(module, Method) else module(images)
    return counted.without_gradient

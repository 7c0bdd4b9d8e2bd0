"""The least time that a training step can take on a device: its arithmetic and its bytes over what the device reaches.

Bytes follow a model of well-made separate kernels (library convolutions, one fused pass for batch statistics, one fused
pass for normalisation, ReLU and addition): a convolution with input I and output A elements, its BN and ReLU move
3 I + 11 A elements in a training pass and I + 4 A in a pass without gradient. What a step moves beside that (weights,
optimiser, augmentation) is left out, so that no step can be faster than the floor of a network with post-activation
blocks; for concatenating networks (DenseNet) the model counts too little, by a factor of about 1.8.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from okdbench.bench.timing import stopwatch
from okdbench.methods import Batch, Method, Progress

TRAINING, INFERENCE = (3, 11), (1, 4)
"""Elements moved for each of the input's and each of the output's, with gradient and without."""
BACKWARD = 2
"""A backward pass computes two gradients for each layer."""


@dataclass(frozen=True)
class Work:
    """What one training step does to one image: floating-point operations, and elements moved."""

    operations: float
    elements: float


@dataclass(frozen=True)
class Peaks:
    """What a device reaches: bytes read and written per second in a copy, operations per second in a matrix product."""

    bandwidth: float
    operations: float
    source: str


@dataclass(frozen=True)
class Floor:
    """Seconds per image for the arithmetic and for the bytes of a step; the larger is the floor."""

    arithmetic: float
    bytes: float

    @property
    def seconds(self) -> float:
        """Per image."""
        return max(self.arithmetic, self.bytes)


KNOWN = {("NVIDIA H200", torch.bfloat16): Peaks(4.3e12, 790e12, "known")}
"""Measured beforehand: a device-to-device copy, and a bf16 product of 8192 x 8192 matrices of random numbers."""


def floor(work: Work, peaks: Peaks, dtype: torch.dtype) -> Floor:
    """The floor of a step whose activations are of ``dtype``."""
    return Floor(work.operations / peaks.operations, work.elements * dtype.itemsize / peaks.bandwidth)


def count_work(method: Method, size: int, images: int = 2) -> Work:
    """Count one training step of a method that was built on the meta device, on images [3, size, size]."""
    counted = {"operations": 0.0, "elements": 0.0}

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        gradient = torch.is_grad_enabled()
        passes = 1 + BACKWARD if gradient else 1
        counted["operations"] += 2 * passes * output.numel() * layer.weight[0].numel()
        if isinstance(layer, nn.Conv2d):
            per_input, per_output = TRAINING if gradient else INFERENCE
            counted["elements"] += per_input * inputs[0].numel() + per_output * output.numel()

    layers = [layer for layer in method.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    views = tuple(torch.zeros(images, 3, size, size, device="meta") for _ in range(method.views))
    scalar = torch.zeros((), device="meta")
    progress = Progress(scalar, scalar, dict.fromkeys(method.schedule(0, 1), scalar), scalar)
    batch = Batch(views, torch.zeros(images, dtype=torch.long, device="meta"))
    try:
        method.training_step(batch, progress, lambda loss: None)
    finally:
        for hook in hooks:
            hook.remove()
    return Work(counted["operations"] / images, counted["elements"] / images)


@cache
def peaks(device: torch.device, dtype: torch.dtype, name: str) -> Peaks:
    """The known peaks of the device called ``name``, or measured ones."""
    return KNOWN.get((name, dtype)) or measured_peaks(device, dtype)


def measured_peaks(device: torch.device, dtype: torch.dtype) -> Peaks:
    """A copy of much more than any cache, and a product of square matrices, both of random numbers; best of five."""
    gpu = device.type == "cuda"
    count, side = (2**30, 8192) if gpu else (2**25, 1536)
    # Of its own: the device's generator is of no use after a recording that broke off.
    drawn = torch.Generator(device).manual_seed(0)
    source = torch.randint(256, (count,), dtype=torch.uint8, device=device, generator=drawn)
    target = torch.empty_like(source)
    left, right = (torch.randn(side, side, device=device, generator=drawn).to(dtype) for _ in range(2))
    product = torch.empty_like(left)
    repeats = 10 if gpu else 1

    def best(action: str) -> float:
        times = []
        for _ in range(6):
            with stopwatch(device) as watch:
                for _ in range(repeats):
                    target.copy_(source) if action == "copy" else torch.mm(left, right, out=product)
            times.append(watch.seconds / repeats)
        return min(times[1:])

    return Peaks(2 * count / best("copy"), 2 * side**3 / best("product"), "measured")

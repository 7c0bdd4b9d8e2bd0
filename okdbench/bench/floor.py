"""A floor for the time of a training step on a device: its arithmetic and memory traffic at the device's peak
rates.

Bytes follow a model of efficient separate kernels (library convolutions, one fused pass for batch statistics, one fused
pass for normalisation, ReLU and addition): a convolution with input I and output A elements, its BN and ReLU move 3 I +
11 A elements in a training pass and I + 4 A in a pass without gradient. Other traffic (weights, optimiser,
augmentation) is left out; for concatenating networks (DenseNet) the model counts too little, by a factor of about 1.8.

It is a model of traffic between memory and kernels, and no proof that nothing can be faster: activations of a few
megabytes, as those of CIFAR networks, may stay in a GPU's cache (60 MB of L2 on an H200), and a kernel that fuses more
moves less.
"""

from dataclasses import dataclass
from functools import cache

import torch

from okdbench.bench.timing import stopwatch
from okdbench.methods import Method
from okdbench.methods.base import blank_step
from okdbench.networks.counting import CostCounter

TRAINING, INFERENCE = (3, 11), (1, 4)
"""Elements moved per input element and per output element, with gradient and without."""
BACKWARD = 2
"""A backward pass computes two gradients for each layer."""


@dataclass(frozen=True)
class Work:
    """The work of one training step on one image: floating-point operations, and elements moved."""

    operations: float
    elements: float


@dataclass(frozen=True)
class Peaks:
    """Peak rates of a device: bytes moved per second in a copy, operations per second in a matrix product."""

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
        """The larger of the two, per image."""
        return max(self.arithmetic, self.bytes)


KNOWN_PEAKS = {("NVIDIA H200", torch.bfloat16): Peaks(4.3e12, 790e12, "known")}
"""Measured beforehand: a device-to-device copy, and a bf16 product of 8192 x 8192 matrices of random numbers."""


def floor(work: Work, peaks: Peaks, dtype: torch.dtype) -> Floor:
    """Return the floor of a step whose activations are of ``dtype``."""
    return Floor(work.operations / peaks.operations, work.elements * dtype.itemsize / peaks.bandwidth)


def count_work(method: Method, size: int) -> Work:
    """Count one training step of a method that was built on the meta device, on images [3, size, size]."""
    batch, progress = blank_step(method, size)
    with CostCounter() as counted:
        method.training_step(batch, progress, lambda loss: None)
    operations = elements = 0
    passes = (counted.with_gradient, 1 + BACKWARD, TRAINING), (counted.without_gradient, 1, INFERENCE)
    for tally, times, (per_input, per_output) in passes:
        operations += 2 * times * tally.macs
        elements += per_input * tally.convolution_inputs + per_output * tally.convolution_outputs
    return Work(operations / len(batch.labels), elements / len(batch.labels))


@cache
def peaks(device: torch.device, dtype: torch.dtype, name: str) -> Peaks:
    """Return the known peaks of the device called ``name``, or measured ones."""
    return KNOWN_PEAKS.get((name, dtype)) or measured_peaks(device, dtype)


def measured_peaks(device: torch.device, dtype: torch.dtype) -> Peaks:
    """Time a copy much larger than any cache and a product of square matrices of random numbers, five times each."""
    gpu = device.type == "cuda"
    count, side = (2**30, 8192) if gpu else (2**25, 1536)
    # A separate generator, because the device's own is unusable after a failed recording.
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

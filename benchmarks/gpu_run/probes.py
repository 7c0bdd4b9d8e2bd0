"""Small measurements that the model of performance rests on, for the predictions G0, G1 and G5-G7 (docs/speed.md).

    python -m benchmarks.gpu_run.probes --device cuda:0 --seconds 90 --output out/probes.json

Measured: a device-to-device copy (bytes read and written) and a product of square matrices of random numbers; kernels,
host time and the device's busy share of eager training steps of ResNet-32, from the profiler; convolutions of K small
networks as a loop, as one grouped convolution (NCHW and NHWC) and as one dense block-diagonal convolution; DKEL's step
with the views passing its trunk one by one and at once; the optimiser's step as torch's loop, foreach and fused forms
and on one flat tensor; whether the MPS control program is there (it is not started). On a CPU all sizes are small and
the figures mean nothing: that is a rehearsal.
"""

import argparse
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.gpu_run.check import own_stream
from benchmarks.gpu_run.parts import Part
from okdbench import networks
from okdbench.bench.floor import measured_peaks
from okdbench.bench.published import PlainStep
from okdbench.bench.timing import Spread, stopwatch
from okdbench.config import CosineSchedule, OptimizerSettings, TrainingSettings
from okdbench.methods import Batch, Build, configure, get
from okdbench.training import Step
from okdbench.training.backends import EAGER, WARM_UP, CudaCapture, Graph
from okdbench.training.images import PendingBatch

CHANNELS = {16: 32, 32: 16, 64: 8, 128: 8, 256: 4}
"""Channels of a convolution, and the side of the map that such a layer sees in the small networks."""
COPIES = (1, 3, 4, 8)
TRAINING = TrainingSettings(epochs=300, optimizer=OptimizerSettings(lr=0.1), schedule=CosineSchedule(name="cosine"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.empty(0, device=device)  # fails at once where there is no such device
    part = Part(options.output, options.seconds, fragile=True)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    part.item("peaks", lambda: peaks(device, dtype))
    for name in ("baseline", "dkel"):
        part.item(f"kernels {name}", partial(kernels, device, name), needs=10)
    part.item("folding", lambda: folding(device, dtype), needs=10)
    part.item("optimiser", lambda: optimiser(device), needs=5)
    part.item("mps", lambda: shutil.which("nvidia-cuda-mps-control"))
    for channels, side in CHANNELS.items():
        for copies in COPIES:
            part.item(
                f"convolution {channels}x{side} K={copies}",
                partial(convolutions, device, dtype, channels, side, copies),
                needs=5,
            )


def peaks(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Bytes and operations per second."""
    reached = measured_peaks(device, dtype)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": name, "dtype": str(dtype), "bandwidth": reached.bandwidth, "operations": reached.operations}


def milliseconds(device: torch.device, work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Of one call: median, least and most of five blocks after one for warming up."""
    times = []
    for _ in range(6):
        with stopwatch(device) as watch:
            for _ in range(repeats):
                work()
        times.append(1e3 * watch.seconds / repeats)
    spread = Spread.of(times[1:])
    return {"median": spread.median, "low": spread.low, "high": spread.high}


def kernels(device: torch.device, name: str) -> dict[str, Any]:
    """Eager float32 NCHW training of ResNet-32 on a batch that is there: kernels, host and device time of a step."""
    gpu = device.type == "cuda"
    steps, size = (20, 128) if gpu else (1, 8)
    method = get(name)(Build([networks.get("resnet32")], 100, seed=0), configure(name, {})).to(device).train()
    step = PlainStep(method, OptimizerSettings(lr=0.1), method.schedule(0, 300))
    views = tuple(torch.randn(size, 3, 32, 32, device=device) for _ in range(method.views))
    batch = Batch(views, torch.randint(100, (size,), device=device))
    for _ in range(3):
        step(batch)
    with stopwatch(device) as watch:
        for _ in range(steps):
            step(batch)
    activities = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if gpu else [])]
    with torch.profiler.profile(activities=activities) as profile:
        step(batch)
    # An optimiser's step appears as one long event of the device beside its kernels.
    events = [e for e in profile.events() or () if e.device_type.name == "CUDA" and not e.is_user_annotation]
    kernels = [event for event in events if not event.name.startswith(("Memcpy", "Memset"))]
    busy = sum(event.device_time for event in events) / 1e6
    seconds = watch.seconds / steps
    return {"step_ms": 1e3 * seconds, "kernels": len(kernels), "device_ms": 1e3 * busy, "busy": busy / seconds}


def folding(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """A recorded step of ResNet-32 DKEL on a batch that is there (on a CPU an eager one): milliseconds."""
    gpu = device.type == "cuda"
    repeats, size = (50, 128) if gpu else (1, 8)
    results = {}
    for name in ("one by one", "folded"):
        with own_stream(device):
            method = get("dkel")(Build([networks.get("resnet32")], 100, seed=0), configure("dkel", {}))
            method.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
            networks.set_compute_dtype(method, dtype if gpu else None)
            if name == "folded":
                networks.fold_views(method)
            views = tuple(torch.randn(size, 3, 32, 32, device=device) for _ in range(method.views))
            batch = Batch(views, torch.randint(100, (size,), device=device))
            step = Step(method, TRAINING, run=Graph(CudaCapture()) if gpu else EAGER)
            step.begin_epoch(100)
            take = partial(step.train_pending, PendingBatch(size, partial(_same, batch)), 1)
            for _ in range(2 * WARM_UP if gpu else 1):
                take()
            results[name] = milliseconds(device, take, repeats)
    return results


def _same(batch: Batch) -> Batch:
    return batch


def optimiser(device: torch.device) -> dict[str, Any]:
    """Nesterov SGD over the tensors of ResNet-32 in torch's forms, and over one tensor as large as all of them."""
    repeats = 50 if device.type == "cuda" else 2
    shapes = [p.shape for p in networks.Single(networks.get("resnet32").build(100)).parameters()]

    def tensors() -> list[nn.Parameter]:
        made = [nn.Parameter(torch.randn(shape, device=device)) for shape in shapes]
        for parameter in made:
            parameter.grad = torch.randn_like(parameter)
        return made

    flat = nn.Parameter(torch.randn(sum(shape.numel() for shape in shapes), device=device))
    flat.grad = torch.randn_like(flat)
    forms: dict[str, tuple[list[nn.Parameter], dict[str, bool]]] = {
        "loop": (tensors(), {"foreach": False, "fused": False}),
        "foreach": (tensors(), {"foreach": True}),
        "fused": (tensors(), {"fused": True}),
        "flat": ([flat], {"fused": True}),
    }
    results = {}
    for name, (parameters, form) in forms.items():
        sgd = torch.optim.SGD(parameters, 0.1, 0.9, weight_decay=5e-4, nesterov=True, **form)
        results[name] = milliseconds(device, sgd.step, repeats)
    return results


def convolutions(device: torch.device, dtype: torch.dtype, channels: int, side: int, copies: int) -> dict[str, Any]:
    """3x3 convolutions of ``copies`` networks, forward and backward: milliseconds, and the largest relative error."""
    gpu = device.type == "cuda"
    batch, repeats = (128, 20) if gpu else (2, 1)
    inputs = [torch.randn(batch, channels, side, side, device=device).to(dtype) for _ in range(copies)]
    weights = [torch.randn(channels, channels, 3, 3, device=device).to(dtype) / (3 * channels**0.5) for _ in inputs]
    nhwc = [each.contiguous(memory_format=torch.channels_last) for each in inputs]
    dense = torch.zeros(copies * channels, copies * channels, 3, 3, dtype=dtype, device=device)
    for index, weight in enumerate(weights):
        block = slice(index * channels, (index + 1) * channels)
        dense[block, block] = weight
    together, grouped = torch.cat(inputs, dim=1), torch.cat(weights)
    wide = together.contiguous(memory_format=torch.channels_last)
    expected = torch.cat([_forward([x], [w]) for x, w in zip(inputs, weights, strict=True)], dim=1)
    forms: dict[str, tuple[list[Tensor], list[Tensor], int]] = {
        "loop": (nhwc, weights, 1),
        "grouped NCHW": ([together], [grouped], copies),
        "grouped NHWC": ([wide], [grouped], copies),
        "block-diagonal": ([wide], [dense], 1),
    }
    return {
        name: {**_timed(device, maps, kernels, groups, repeats), "error": _error(maps, kernels, groups, expected)}
        for name, (maps, kernels, groups) in forms.items()
    }


def _forward(maps: list[Tensor], kernels: list[Tensor], groups: int = 1) -> Tensor:
    outputs = [functional.conv2d(x, w, padding=1, groups=groups) for x, w in zip(maps, kernels, strict=True)]
    return torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]


def _error(maps: list[Tensor], kernels: list[Tensor], groups: int, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    difference = _forward(maps, kernels, groups).double() - expected.double()
    return float(difference.norm() / expected.double().norm())


def _timed(
    device: torch.device, maps: list[Tensor], kernels: list[Tensor], groups: int, repeats: int
) -> dict[str, dict[str, float]]:
    """Forward alone, and forward with both gradients."""
    trained = [(x.detach().requires_grad_(), w.detach().requires_grad_()) for x, w in zip(maps, kernels, strict=True)]

    def forward() -> None:
        with torch.no_grad():
            for x, w in trained:
                functional.conv2d(x, w, padding=1, groups=groups)

    def both() -> None:
        outputs = [functional.conv2d(x, w, padding=1, groups=groups) for x, w in trained]
        torch.autograd.grad(outputs, [each for pair in trained for each in pair], [o.detach() for o in outputs])

    return {"forward": milliseconds(device, forward, repeats), "both": milliseconds(device, both, repeats)}


if __name__ == "__main__":
    main()

"""Small measurements: a profile of our own graph, runs in turns, and what the model of performance rests on.

    python -m benchmarks.gpu_run.probes replays --device cuda:0 --data data --output out.json

Each probe's finding is written when it is done. On a GPU, times are of replays of a recorded graph, so that launches do
not count, and weights are in channels-last. On a CPU all sizes are small and the figures mean nothing: a rehearsal.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.gpu_run.check import own_stream
from benchmarks.gpu_run.items import IMAGES
from okdbench import networks
from okdbench.bench import BenchGrid, Spread, TimedRun, cases
from okdbench.bench.floor import measured_peaks
from okdbench.bench.ours import Ours
from okdbench.bench.published import PlainStep
from okdbench.bench.sharing import measure_rates
from okdbench.bench.timing import stopwatch
from okdbench.config import CosineSchedule, OptimizerSettings, TrainingSettings
from okdbench.files import write_json
from okdbench.methods import Batch, Build, configure, get
from okdbench.runs.execution import Execution
from okdbench.runs.weights import fingerprint
from okdbench.training import Step
from okdbench.training.backends import EAGER, TOLERANCE, WARM_UP, CudaCapture, Graph
from okdbench.training.environment import environment
from okdbench.training.images import PendingBatch

SHAPES = ((16, 32, 1), (16, 32, 4), (32, 16, 4), (64, 8, 4))
"""Channels, the side of the map that such a layer sees in small networks, and how many networks."""
REPLAYS, NAMES = 3, 80
"""Steps that are profiled, and how many kernels are told apart, by their time."""
TRAINING = TrainingSettings(epochs=300, optimizer=OptimizerSettings(lr=0.1), schedule=CosineSchedule(name="cosine"))


@dataclass(frozen=True)
class Site:
    """Where probes are made."""

    device: torch.device
    root: Path
    rehearsal: bool

    @property
    def gpu(self) -> bool:
        """Whether graphs can be recorded."""
        return self.device.type == "cuda"

    @property
    def network(self) -> networks.Architecture:
        """The network of probes that need no images."""
        return networks.get("resnet8" if self.rehearsal else "resnet32")

    @property
    def dtype(self) -> torch.dtype:
        """What convolutions compute in."""
        return torch.bfloat16 if self.gpu else torch.float32

    def run(self, method: str, jobs: int = 1, seed: int = 0, network: str = "resnet32") -> TimedRun:
        """A network on CIFAR's shape, computed in the usual way; a tiny one in a rehearsal."""
        dataset, network, batch, subset = (
            ("digits", "resnet8", 4, 16) if self.rehearsal else (IMAGES, network, 128, None)
        )
        [config] = cases(BenchGrid([dataset], [network], [method], [batch], {}, subset), self.root)
        config = config.model_copy(update={"seed": seed})
        return TimedRun(config, self.root, self.device, execution=Execution(jobs=jobs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("probe", nargs="+", choices=PROBES)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    site, found = Site(torch.device(options.device), options.data, options.rehearse), dict[str, Any]()
    for name in options.probe:
        found[name] = PROBES[name](site)
        write_json(options.output, found)


def where(site: Site) -> dict[str, Any]:
    """Versions and the device's name; fails where it does not compute."""
    assert float(torch.ones(2, device=site.device).sum()) == 2
    return environment(site.device)


def same_weights(site: Site) -> dict[str, Any]:
    """Whether each of three runs in turns has after 20 steps the weights that it has alone, also with dropout."""
    steps, jobs = (2, 2) if site.rehearsal else (20, 3)
    same = []
    for network in ("resnet32",) if site.rehearsal else ("resnet32", "vgg16_mlp_dropout"):
        together = Ours(site.run("baseline", jobs, network=network))
        together.block(steps)
        for seed, trainer in enumerate(together.trainers):
            one = Ours(site.run("baseline", seed=seed, network=network))
            one.block(steps)
            hashes = (fingerprint(each.method.state_dict()) for each in (trainer, one.trainers[0]))
            same.append(len(set(hashes)) == 1)
    return {"runs": jobs, "same": same}


def turns(site: Site) -> dict[str, float]:
    """Images per second of several runs together, by their number."""
    rates = measure_rates(site.run("baseline"), (1, 2) if site.rehearsal else (1, 2, 3, 4), 1 if site.rehearsal else 50)
    return {str(jobs): rate for jobs, rate in rates.items()}


def replays(site: Site) -> dict[str, Any]:
    """Three steps of ResNet-32 DKEL as `run` computes them: every kernel with its count and its time in one step."""
    ours = Ours(site.run("dkel"))
    ours.block(1 if site.rehearsal else 20)
    return {**profiled(site, lambda: ours.block(REPLAYS), REPLAYS), "execution": ours.facts()}


def eager(site: Site) -> dict[str, Any]:
    """Eager float32 NCHW training of ResNet-32 on a batch that is there."""
    size = 128 if site.gpu else 8
    method = get("baseline")(Build([site.network], 100, seed=0), configure("baseline", {}))
    step = PlainStep(method.to(site.device).train(), OptimizerSettings(lr=0.1), method.schedule(0, 300))
    batch = Batch((torch.randn(size, 3, 32, 32, device=site.device),), torch.randint(100, (size,), device=site.device))
    for _ in range(3):
        step(batch)
    return profiled(site, lambda: step(batch), 1)


def profiled(site: Site, work: Callable[[], object], steps: int) -> dict[str, Any]:
    """What ``work``, which takes ``steps`` steps, launches in one of them, and the device's busy share of its time.

    The time of a step is measured without the profiler.
    """
    repeats = 1 if site.rehearsal else 5
    with stopwatch(site.device) as watch:
        for _ in range(repeats):
            work()
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, *([activity.CUDA] if site.gpu else [])]) as profile:
        work()
        if site.gpu:
            torch.cuda.synchronize(site.device)
    counts, times = Counter[str](), Counter[str]()
    for event in profile.events() or ():
        # An optimiser's step appears as one long event of the device beside its kernels.
        if event.device_type.name == ("CUDA" if site.gpu else "CPU") and not event.is_user_annotation:
            name = event.name[:200]
            counts[name] += 1
            times[name] += event.device_time if site.gpu else event.self_cpu_time_total
    kernels = sum(count for name, count in counts.items() if not name.startswith(("Memcpy", "Memset")))
    seconds, busy = watch.seconds / repeats / steps, sum(times.values()) / 1e6 / steps
    return {
        "step_ms": 1e3 * seconds,
        "device_ms": 1e3 * busy,
        "busy": busy / seconds,
        "kernels": kernels / steps,
        "by_name": [
            {"name": name, "count": counts[name] / steps, "microseconds": time / steps}
            for name, time in times.most_common(NAMES)
        ],
    }


def milliseconds(site: Site, work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Of one call within a recorded graph of ``repeats`` calls: median, least and most of five blocks."""

    def block() -> None:
        for _ in range(repeats):
            work()

    times = []
    with own_stream(site.device):
        if site.gpu:
            torch.cuda.synchronize(site.device)  # the tensors are from another stream
            for _ in range(WARM_UP):
                work()
            replay, _ = CudaCapture()(block)
        else:
            replay = block
        for _ in range(6):
            with stopwatch(site.device) as watch:
                replay()
            times.append(1e3 * watch.seconds / repeats)
    spread = Spread.of(times[1:])
    return {"median": spread.median, "low": spread.low, "high": spread.high}


def peaks(site: Site) -> dict[str, Any]:
    """Bytes per second of a copy and operations per second of a product of matrices."""
    reached = measured_peaks(site.device, site.dtype)
    return {"dtype": str(site.dtype), "bandwidth": reached.bandwidth, "operations": reached.operations}


def folding(site: Site) -> dict[str, Any]:
    """A recorded step of ResNet-32 DKEL on a batch that is there (on a CPU an eager one): milliseconds."""
    device, results = site.device, {}
    repeats, size = (50, 128) if site.gpu else (1, 8)
    for name in ("one by one", "folded"):
        with own_stream(device):
            method = get("dkel")(Build([site.network], 100, seed=0), configure("dkel", {}))
            method.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
            networks.set_compute_dtype(method, site.dtype if site.gpu else None)
            if name == "folded":
                networks.fold_views(method)
            views = tuple(torch.randn(size, 3, 32, 32, device=device) for _ in range(method.views))
            batch = Batch(views, torch.randint(100, (size,), device=device))
            step = Step(method, TRAINING, run=Graph(CudaCapture(), tolerance=TOLERANCE) if site.gpu else EAGER)
            step.begin_epoch(100)
            pending = PendingBatch(size, partial(_same, batch))
            for _ in range(2 * WARM_UP if site.gpu else 1):
                step.train_pending(pending, 1)
            times = []
            for _ in range(6):
                with stopwatch(device) as watch:
                    for _ in range(repeats):
                        step.train_pending(pending, 1)
                times.append(1e3 * watch.seconds / repeats)
            results[name] = Spread.of(times[1:]).median
    return results


def _same(batch: Batch) -> Batch:
    return batch


def optimiser(site: Site) -> dict[str, Any]:
    """Nesterov SGD over the tensors of ResNet-32 in torch's forms, and over one tensor as large as all of them."""
    device = site.device
    shapes = [p.shape for p in networks.Single(site.network.build(100)).parameters()]

    def tensors() -> list[nn.Parameter]:
        made = [nn.Parameter(torch.randn(shape, device=device)) for shape in shapes]
        for parameter in made:
            parameter.grad = torch.randn_like(parameter)
        return made

    flat = nn.Parameter(torch.randn(sum(shape.numel() for shape in shapes), device=device))
    flat.grad = torch.randn_like(flat)
    forms: dict[str, tuple[list[nn.Parameter], dict[str, bool]]] = {
        "foreach": (tensors(), {"foreach": True}),
        "fused": (tensors(), {"fused": True}),
        "flat": ([flat], {"fused": True}),
    }
    results = {}
    for name, (parameters, form) in forms.items():
        sgd = torch.optim.SGD(parameters, 0.1, 0.9, weight_decay=5e-4, nesterov=True, **form)
        results[name] = milliseconds(site, sgd.step, 50 if site.gpu else 2)
    return results


def convolutions(site: Site) -> dict[str, Any]:
    """3x3 convolutions of several networks, forward with both gradients, in three forms; all in channels-last."""
    return {
        f"{channels}x{side} K={copies}": {
            form: milliseconds(site, partial(_both, *tensors), 20 if site.gpu else 1)
            for form, tensors in _forms(site, channels, side, copies).items()
        }
        for channels, side, copies in SHAPES
    }


def _forms(site: Site, channels: int, side: int, copies: int) -> dict[str, tuple[list[Tensor], list[Tensor], int]]:
    """Inputs, weights and groups: one by one, grouped, and as one block-diagonal convolution."""
    size = 128 if site.gpu else 2

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, device=site.device).to(site.dtype)

    inputs = [drawn(size, channels, side, side) for _ in range(copies)]
    weights = [drawn(channels, channels, 3, 3) / (3 * channels**0.5) for _ in inputs]
    dense = torch.zeros(copies * channels, copies * channels, 3, 3, dtype=site.dtype, device=site.device)
    for index, weight in enumerate(weights):
        block = slice(index * channels, (index + 1) * channels)
        dense[block, block] = weight
    wide = torch.cat(inputs, dim=1)
    forms = {
        "loop": (inputs, weights, 1),
        "grouped": ([wide], [torch.cat(weights)], copies),
        "dense": ([wide], [dense], 1),
    }
    return {name: (_trained(maps), _trained(kernels), groups) for name, (maps, kernels, groups) in forms.items()}


def _trained(tensors: list[Tensor]) -> list[Tensor]:
    return [each.detach().clone(memory_format=torch.channels_last).requires_grad_() for each in tensors]


def _both(maps: list[Tensor], kernels: list[Tensor], groups: int) -> None:
    outputs = [functional.conv2d(x, w, padding=1, groups=groups) for x, w in zip(maps, kernels, strict=True)]
    torch.autograd.grad(outputs, [*maps, *kernels], [output.detach() for output in outputs])


PROBES: dict[str, Callable[[Site], dict[str, Any]]] = {
    "environment": where,
    "same-weights": same_weights,
    "turns": turns,
    "replays": replays,
    "peaks": peaks,
    "eager": eager,
    "optimiser": optimiser,
    "folding": folding,
    "convolutions": convolutions,
}

if __name__ == "__main__":
    main()

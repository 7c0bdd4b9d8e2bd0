"""Does every method compute on this device what it computes on a CPU, recorded as launched one by one?

    python -m benchmarks.gpu_run.check --device cuda:0 --data data --seconds 150 --output out/check.json

For each method, 50 training steps of ResNet-8 at full weights of all its terms: in float64 and float32 on the CPU, then
on the device in float32 as separate operations, as a recorded graph, and in bfloat16. Each curve of losses is compared
with the float64 one. The CPU's float32 curve shows the effect of rounding alone, and the device may be a few times as
far away. Graph and separate operations are also compared with each other, bit by bit.
"""

import argparse
import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.gpu_run.parts import Part
from okdbench import data, methods
from okdbench.config import DataSettings, MultistepSchedule, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.methods import Batch
from okdbench.runs.execution import Algorithms, Backend, Precision
from okdbench.seeds import seeded
from okdbench.training.computation import Computation, configure_process
from okdbench.training.environment import fingerprint
from okdbench.training.images import RunImages, open_dataset

EPOCH = 100
"""One in which every ramp-up is over and the learning rate has not fallen yet."""
TIMES, LEAST = 20.0, 5e-6
"""How far the device's curve may be from float64: this many times as far as the CPU's float32, or the least distance.
Bfloat16, which is reported but not judged, is 1e-5 to 1e-4 away."""


@dataclass(frozen=True)
class Trial:
    """Which training, on which images, for how many steps."""

    method: str
    dataset: str
    root: Path
    steps: int
    batch_size: int

    @property
    def config(self) -> RunConfig:
        """The run. Its learning rate is so low that training does not amplify rounding, which at 0.01 it does 1e4 times
        in 50 steps; a wrong update still shows. A teacher is an untrained one."""
        config = RunConfig(
            dataset=self.dataset,
            network="resnet8",
            method=self.method,
            settings={},
            training=TrainingSettings(
                epochs=300,
                batch_size=self.batch_size,
                optimizer=OptimizerSettings(lr=1e-4),
                schedule=MultistepSchedule(name="multistep", milestones=(150, 225)),
            ),
            data=DataSettings(subset=min(2000, max(400, self.steps * self.batch_size)), test_subset=100),
            seed=0,
        )
        teacher = config.model_copy(update={"method": "baseline"}) if methods.get(self.method).needs_teacher else None
        return config.model_copy(update={"teacher": teacher})


class Curve(NamedTuple):
    """The loss of every step, the hash of the weights at the end, and why steps were not recorded, where asked to."""

    losses: list[float]
    weights: str
    notes: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--method", action="append", help="all, if none is named")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.empty(0, device=device)  # fails at once where there is no such device
    dataset = "cifar100" if data.present("cifar100", options.data) else "synthetic-cifar100"
    part = Part(options.output, options.seconds, fragile=True)
    for name in options.method or methods.available():
        trial = Trial(name, dataset, options.data, options.steps, options.batch_size)
        part.item(name, partial(compare, trial, device), needs=20)


def compare(trial: Trial, device: torch.device) -> dict[str, Any]:
    """How far each curve lies from the float64 one, and whether that is near enough."""
    cpu = torch.device("cpu")
    separate = Computation(Backend.eager, Precision.float32, Algorithms.deterministic)
    recorded = replace(separate, backend=Backend.graph)
    exact, rounded = curve(trial, cpu, separate, torch.float64), curve(trial, cpu, separate)
    curves = {"device": curve(trial, device, separate)}
    if device.type == "cuda" and methods.get(trial.method).capturable:
        curves["graph"] = curve(trial, device, recorded)
    found = {name: distance(each, exact) for name, each in curves.items()}
    allowed = max(LEAST, TIMES * distance(rounded, exact))
    lowered = curve(trial, device, replace(separate, precision=Precision.bfloat16))
    return {
        **found,
        "cpu": distance(rounded, exact),
        "bfloat16": distance(lowered, exact),
        "allowed": allowed,
        "right": max(found.values()) <= allowed and not any(each.notes for each in curves.values()),
        "notes": [note for each in curves.values() for note in each.notes],
        "graph_bit_for_bit": "graph" in curves and curves["graph"][:2] == curves["device"][:2],
    }


def distance(curve: Curve, exact: Curve) -> float:
    """The largest relative difference between the losses of one step; infinite where one is not finite."""
    if not all(map(math.isfinite, (*curve.losses, *exact.losses))):
        return math.inf
    return max(abs(one - other) / abs(other) for one, other in zip(curve.losses, exact.losses, strict=True))


def curve(trial: Trial, device: torch.device, computation: Computation, dtype: torch.dtype = torch.float32) -> Curve:
    """Train from the keyed start."""
    config = trial.config
    configure_process(computation.algorithms, device)
    with own_stream(device):
        method = methods.make(config, data.get(config.dataset).classes).to(device, dtype).train()
        method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = RunImages(open_dataset(config, trial.root, device), config, method.images_per_class)
        step = computation.prepare(method, config.training)
        with seeded(0, "step"):
            method.prepare(_cast(batch, dtype) for batch in images.endless(method.views))
        losses = list[float]()
        for number, load in enumerate(images.pending_batches(0, method.views)):
            step.begin_epoch(EPOCH)  # each step's sums are its own
            with seeded(0, "step", EPOCH, number):
                if computation.backend.recorded:
                    step.train_pending(load, number)
                else:
                    step(_cast(load.batch(), dtype), number)
            losses.append(sum(step.mean_losses().values()))
            if len(losses) == trial.steps:
                break
        return Curve(losses, fingerprint(method), step.run.notes)


def own_stream(device: torch.device) -> AbstractContextManager[object]:
    """A stream for all that is done within, since the default one cannot be recorded."""
    if device.type != "cuda":
        return nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]


def _cast(batch: Batch, dtype: torch.dtype) -> Batch:
    return Batch(tuple(view.to(dtype) for view in batch.views), batch.labels)


if __name__ == "__main__":
    main()

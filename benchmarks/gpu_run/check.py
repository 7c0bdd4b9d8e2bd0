"""Does a method compute on this device what it computes on a CPU, recorded as launched one by one?

    python -m benchmarks.gpu_run.check dkel --device cuda:0 --reference .gpu_run/curves.json --output dkel.json

20 training steps of ResNet-8 at full weights of all terms, four times four whole batches and a smaller one, with an
evaluation after each smaller one, so that both sizes of batch and the evaluation come often enough to be recorded. On
the device in float32 and in bfloat16, as separate operations and as a recorded graph. Losses and the heads' final
cross-entropy are compared with those in float64 on a CPU, which `prepare` has written. The CPU's own float32 and
bfloat16 show the effect of rounding alone, and the device may be a few times as far away.
"""

import argparse
import json
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from okdbench import methods
from okdbench.config import DataSettings, MultistepSchedule, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.files import write_json
from okdbench.methods import Batch
from okdbench.runs.execution import Algorithms, Backend, GraphError, Precision
from okdbench.runs.weights import fingerprint
from okdbench.seeds import seeded
from okdbench.training.computation import Computation, configure_process
from okdbench.training.evaluation import Evaluation
from okdbench.training.images import PendingBatch, RunImages, open_dataset

EPOCH = 100
"""One in which every ramp-up is over and the learning rate has not fallen yet."""
WHOLE = 4
"""Whole batches of a pass over the images; a half one follows them."""
CPU = torch.device("cpu")
TIMES = {Precision.float32: 20.0, Precision.bfloat16: 5.0}
LEAST = {Precision.float32: 5e-6, Precision.bfloat16: 2e-4}
"""How far the device may be from float64: this many times as far as the CPU in the same precision, or the least
distance if that is more. A step that did not happen, or happened twice, moves the losses further."""


@dataclass(frozen=True)
class Trial:
    """Which training, with images below which folder, in batches of which size, and how many times over the images."""

    method: str
    root: Path
    batch: int = 16
    passes: int = 4

    @property
    def config(self) -> RunConfig:
        """The run. Its learning rate is so low that training does not amplify rounding, which at 0.01 it does 1e4 times
        in 50 steps; a wrong update still shows."""
        return RunConfig(
            dataset="synthetic-cifar100",
            network="resnet8",
            method=self.method,
            settings={},
            training=TrainingSettings(
                epochs=300,
                batch_size=self.batch,
                optimizer=OptimizerSettings(lr=1e-4),
                schedule=MultistepSchedule(name="multistep", milestones=(150, 225)),
            ),
            data=DataSettings(subset=WHOLE * self.batch + self.batch // 2, test_subset=2 * self.batch),
            seed=0,
        )


class Curve(NamedTuple):
    """The loss of every step and the last cross-entropy of every head, the hash of the weights, the runner's notes."""

    values: list[float]
    weights: str = ""
    notes: tuple[str, ...] = ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    prepared = json.loads(options.reference.read_text())
    trial = Trial(options.method, options.data, prepared["batch"], prepared["passes"])
    found = compare(trial, torch.device(options.device), prepared["methods"][options.method])
    write_json(options.output, found)


def reference(trial: Trial) -> dict[str, Any]:
    """What a CPU computes: the values in float64, and how far those in lower precisions are from them."""
    exact = curve(trial, CPU, Backend.eager, Precision.float32, torch.float64)
    lower = {str(precision): distance(curve(trial, CPU, Backend.eager, precision), exact) for precision in TIMES}
    return {"values": exact.values, **lower}


def compare(trial: Trial, device: torch.device, reference: dict[str, Any]) -> dict[str, Any]:
    """For each precision how far both ways of launching are from float64, and whether that is near enough."""
    exact, found = Curve(reference["values"]), dict[str, Any]()
    for precision in TIMES:
        allowed = max(LEAST[precision], TIMES[precision] * reference[precision])
        eager = curve(trial, device, Backend.eager, precision)
        entry = {"allowed": allowed, "cpu": reference[precision], "eager": distance(eager, exact)}
        entry["right"] = entry["eager"] <= allowed
        found[precision] = entry
        if device.type == "cuda":
            try:
                graph = curve(trial, device, Backend.graph, precision)
            except GraphError as error:  # nothing more can be computed in this process
                found[precision] = {**entry, "right": False, "notes": [str(error)]}
                break
            entry |= {"graph": distance(graph, exact), "graph_against_eager": distance(graph, eager)}
            entry |= {"bit_for_bit": graph[:2] == eager[:2], "notes": graph.notes}
            entry["right"] = max(entry["eager"], entry["graph"]) <= allowed
    return found


def distance(curve: Curve, exact: Curve) -> float:
    """The largest relative difference between two values; infinite where one is not finite."""
    if not all(map(math.isfinite, (*curve.values, *exact.values))):
        return math.inf
    return max(abs(one - other) / abs(other) for one, other in zip(curve.values, exact.values, strict=True))


def curve(
    trial: Trial, device: torch.device, backend: Backend, precision: Precision, dtype: torch.dtype = torch.float32
) -> Curve:
    """Train from the keyed start."""
    config, computation = trial.config, Computation(backend, precision, Algorithms.deterministic)
    configure_process(computation.algorithms, device)
    with own_stream(device):
        dataset = open_dataset(config, trial.root, device)
        method = methods.make(config, dataset.classes).to(device, dtype).train()
        method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = RunImages(dataset, config, method.images_per_class)
        step = computation.prepare(method, config.training)
        evaluation = Evaluation(method, step.run)
        with seeded(0, "step"):
            method.prepare(_cast(batch, dtype) for batch in images.endless(method.views))
        losses, entropies = list[float](), list[float]()
        for passed in range(trial.passes):
            for number, pending in enumerate(_pending(images.pending_batches(passed, method.views), dtype)):
                step.begin_epoch(EPOCH)  # each step's sums are its own
                with seeded(0, "step", EPOCH, trial.passes * number + passed):
                    step.train_pending(pending, number)
                losses.append(sum(step.mean_losses().values()))
            entropies = [each.ce for each in evaluation("test", _pending(images.test(), dtype)).values()]
        return Curve([*losses, *entropies], fingerprint(method.state_dict()), tuple(step.run.notes))


def own_stream(device: torch.device) -> AbstractContextManager[object]:
    """A stream for all that is done within, since the default one cannot be recorded."""
    if device.type != "cuda":
        return nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]


def _pending(batches: Iterator[PendingBatch], dtype: torch.dtype) -> Iterator[PendingBatch]:
    return (PendingBatch(each.size, partial(_made, each, dtype)) for each in batches)


def _made(pending: PendingBatch, dtype: torch.dtype) -> Batch:
    return _cast(pending.batch(), dtype)


def _cast(batch: Batch, dtype: torch.dtype) -> Batch:
    return Batch(tuple(view.to(dtype) for view in batch.views), batch.labels)


if __name__ == "__main__":
    main()

"""Saved measurements: one JSON file for each run that is timed, below ``results/bench/DEVICE``."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from okdbench.bench.timing import Spread
from okdbench.config import RunConfig
from okdbench.files import write_json
from okdbench.runs.folder import MEASUREMENTS


@dataclass(frozen=True)
class Timing:
    """One loop: milliseconds of a step in every block, their median and range, and more figures of the same steps.

    ``processor_ms`` counts this process and its loader processes. ``images_per_second`` counts each image once, however
    many views it has. ``setup_seconds`` lasts until the end of the first step: building, reading, compiling, capturing.
    ``peak_memory_bytes`` is None if the system does not report it.
    """

    blocks: tuple[float, ...]
    step_ms: Spread
    processor_ms: Spread
    images_per_second: float
    percent_of_floor: float
    setup_seconds: float
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class Epochs:
    """Whole epochs over ``images`` images, with evaluation and the loop's checkpoints: seconds of each, by loop."""

    images: int
    test_images: int
    seconds: dict[str, tuple[float, ...]]
    ratios: dict[str, Spread]
    """For each other loop, its time divided by ours."""


@dataclass(frozen=True)
class Measurement:
    """One run timed in several loops on one device; ``ratios`` are the times of the other loops divided by ours.

    ``processor_ratios`` are the same of processor time, for machines that do other work meanwhile.
    """

    config: RunConfig
    execution: dict[str, Any]
    """Backend, precision and the like, as used."""
    environment: dict[str, Any]
    device: str
    peaks: dict[str, Any]
    floor: dict[str, float]
    """Seconds per image for ``arithmetic`` and ``bytes``; ``operations`` and ``elements`` (moved) per image."""
    loops: dict[str, Timing]
    ratios: dict[str, Spread]
    processor_ratios: dict[str, Spread]
    epochs: Epochs | None = None
    nodes: int | None = None
    """What one of our steps launches on a GPU: kernels, copies and fills; None on a CPU."""

    @property
    def jobs(self) -> int:
        """Runs that shared the device; our rate is that of all of them together."""
        return int(self.execution.get("jobs", 1))

    @property
    def ours(self) -> Timing:
        """The timing of our own loop."""
        return self.loops["ours"]

    def ratio(self, loop: str) -> float | None:
        """Return the median ratio to another loop, None if it was not measured."""
        return self.ratios[loop].median if loop in self.ratios else None

    @property
    def name(self) -> str:
        """``DATASET.NETWORK.METHOD.bBATCH.ID``: the same whenever the same is measured."""
        run = self.config
        threads = self.environment.get("threads") if self.environment.get("device") == "cpu" else None
        settled = json.dumps([run.id, self.execution, threads], sort_keys=True)
        digest = hashlib.sha256(settled.encode()).hexdigest()[:8]
        return f"{run.dataset}.{run.network.replace('/', '-')}.{run.method}.b{run.training.batch_size}.{digest}"

    def facts(self) -> dict[str, Any]:
        """Return everything as JSON values, the most important figures first."""
        return {
            "kind": "bench",
            "device": self.device,
            "images_per_second": self.ours.images_per_second,
            "step_ms": self.ours.step_ms.median,
            "ratio_as_published": self.ratio("as-published"),
            "ratio_fair_eager": self.ratio("fair-eager"),
            "percent_of_floor": self.ours.percent_of_floor,
            "peak_memory_bytes": self.ours.peak_memory_bytes,
            "setup_seconds": self.ours.setup_seconds,
            "epoch_seconds": self._epoch_seconds(),
            "nodes_per_step": self.nodes,
            "microseconds_per_node": 1e3 * self.ours.step_ms.median / self.nodes if self.nodes else None,
            "config": self.config.model_dump(mode="json"),
            "execution": self.execution,
            "environment": self.environment,
            "peaks": self.peaks,
            "floor": self.floor,
            "loops": {name: asdict(timing) for name, timing in self.loops.items()},
            "processor_ratios": {name: asdict(spread) for name, spread in self.processor_ratios.items()},
            "ratios": {name: asdict(spread) for name, spread in self.ratios.items()},
            "epochs": asdict(self.epochs) if self.epochs else None,
        }

    def _epoch_seconds(self) -> float | None:
        return Spread.of(self.epochs.seconds["ours"]).median if self.epochs else None


def measurement_folder(results: Path, device: str) -> Path:
    """Return the folder of the measurements on the device of that name."""
    return results / MEASUREMENTS / re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def save_measurement(results: Path, measurement: Measurement) -> Path:
    """Write the measurement, replacing an older one of the same run; return its path."""
    path = measurement_folder(results, measurement.device) / f"{measurement.name}.json"
    write_json(path, measurement.facts())
    return path

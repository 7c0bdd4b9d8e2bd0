"""Estimates of a plan's hours on devices whose speed is known: measured by `okdbench bench`, or recorded with runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from statistics import median
from typing import Any

from okdbench import data
from okdbench.config import LearningConfig, RunConfig
from okdbench.errors import UsageError
from okdbench.files import read_json
from okdbench.plan.cost import BACKWARD, CellCost, RunCost, step_macs, trained_images
from okdbench.runs.folder import MEASUREMENTS, RECORD, RunFolder
from okdbench.runs.records import Record

SHORTEST = 10.0
"""Seconds of training below which a run's speed says little: its first steps are slow."""
UNKNOWN_DEVICE = "a device without a name"


@dataclass(frozen=True)
class Speed:
    """One measurement: seconds of training per image, with all runs that the device trained at the same time."""

    config: RunConfig
    seconds: float

    @property
    def seconds_per_mac(self) -> float:
        """Seconds per MAC of a training step."""
        return self.seconds / step_macs(self.config)


@dataclass(frozen=True)
class Hours:
    """The hours of a cell or run on one device.

    ``basis`` is ``measured`` if this very training was timed, else the network and method whose speed per MAC is used,
    or ``other networks`` for the median of all measurements.
    """

    hours: float
    basis: str


def speeds(results: Path) -> dict[str, list[Speed]]:
    """Return the measurements by device, the fastest of each run; raise UsageError naming a damaged file."""
    found: dict[str, dict[str, Speed]] = {}
    for path in sorted((results / MEASUREMENTS).glob("*/*.json")):
        device, speed = _read(path)
        fastest = found.setdefault(device, {})
        same = speed.config.id
        if same not in fastest or speed.seconds < fastest[same].seconds:
            fastest[same] = speed
    return {device: list(each.values()) for device, each in found.items()}


def recorded_speeds(results: Path) -> dict[str, list[Speed]]:
    """Return the speed of finished runs by device, the fastest of each training, whatever its seed.

    Damaged records are left out, and so are runs that learned for less than `SHORTEST` seconds.
    """
    found: dict[str, dict[str, Speed]] = {}
    for path in sorted(results.glob(f"*/*/{RECORD}")):
        try:
            record = RunFolder(path.parent).record
            if not isinstance(record, Record) or not record.images_per_second or _seconds(record) < SHORTEST:
                continue
        except UsageError:
            continue  # what reads the run reports the damage
        fastest = found.setdefault(str(record.environment.get("device_name", UNKNOWN_DEVICE)), {})
        speed = Speed(record.config, 1.0 / (record.images_per_second * record.turns))
        same = record.config.model_copy(update={"seed": 0}).id
        if same not in fastest or speed.seconds < fastest[same].seconds:
            fastest[same] = speed
    return {device: list(each.values()) for device, each in found.items()}


def _seconds(record: Record) -> float:
    """Return how long the run learned, without its start and its tests; of runs in turns, its share."""
    rate = (record.images_per_second or 0.0) * record.turns
    return record.epochs * trained_images(record.config) / rate if rate else 0.0


def _read(path: Path) -> tuple[str, Speed]:
    try:
        content: dict[str, Any] = read_json(path)
        return content["device"], Speed(
            RunConfig.model_validate(content["config"]), 1.0 / float(content["images_per_second"])
        )
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise UsageError(f"{path}: damaged, or not a measurement ({error}); delete it and measure again") from error


def hours(cost: CellCost | RunCost, measured: Sequence[Speed]) -> Hours:
    """Return the hours of a cell or run on the device of these measurements, which must not be empty."""
    config, macs = cost.config, cost.petaflop * 1e15 / 2
    if same := [speed for speed in measured if _signature(speed.config) == _signature(config)]:
        return Hours(macs * min(speed.seconds_per_mac for speed in same) / 3600, "measured")
    akin = [speed for speed in measured if _stage(speed.config) == _stage(config)]
    if not akin:
        return Hours(macs * median(speed.seconds_per_mac for speed in measured) / 3600, "other networks")
    wanted = cost.step * (1 + BACKWARD) * cost.macs
    nearest = min(akin, key=lambda speed: abs(log(step_macs(speed.config) / wanted)))
    return Hours(macs * nearest.seconds_per_mac / 3600, f"{nearest.config.network} {nearest.config.method}")


def _stage(config: LearningConfig) -> tuple[Any, ...]:
    """Return what decides how fast an operation is: the network and the size of its images."""
    return config.network, data.get(config.source.dataset).image_size


def _signature(config: LearningConfig) -> tuple[Any, ...]:
    """Return what decides how long a step takes."""
    training = config.training
    return (
        config.kind,
        *_stage(config),
        config.method,
        sorted(map(repr, config.settings.items())),
        training.batch_size,
        training.ema,
    )

"""Which runs are timed: every combination of the requested values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from okdbench import data, methods, networks
from okdbench.config import DataSettings, MultistepSchedule, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.data.base import SYNTHETIC_PREFIX
from okdbench.errors import UsageError
from okdbench.networks.counting import weightless


@dataclass(frozen=True)
class BenchGrid:
    """The values to combine; ``settings`` maps names of method settings to values.

    ``subset``: number of training images; the test images are reduced in proportion.
    """

    datasets: Sequence[str]
    networks: Sequence[str]
    methods: Sequence[str]
    batch_sizes: Sequence[int]
    settings: Mapping[str, Sequence[Any]]
    subset: int | None = None


def cases(wanted: BenchGrid, root: Path) -> list[RunConfig]:
    """Return one run for each combination. Synthetic images stand in for a data set that is absent below ``root``.

    Raise UsageError for an unknown name, a setting that a method lacks, an invalid value, a method that does not
    support the network or needs a trained teacher, and a batch larger than the training set.
    """
    names = [_present(name, root) for name in wanted.datasets]
    for network in wanted.networks:
        networks.several(network)
    chosen = [_configured(label, values) for label in wanted.methods for values in _combined(wanted.settings)]
    return [
        _case(name, network, label, settings, batch_size, wanted.subset)
        for name, network, (label, settings), batch_size in product(names, wanted.networks, chosen, wanted.batch_sizes)
    ]


def _present(name: str, root: Path) -> str:
    """Return the data set's name, or that of its synthetic stand-in."""
    dataset = data.get(name)
    return name if dataset.find is None or data.present(name, root) else SYNTHETIC_PREFIX + name


def _combined(settings: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return every combination of the values; a setting without values keeps its default."""
    tried = {key: values for key, values in settings.items() if values}
    return [dict(zip(tried, values, strict=True)) for values in product(*tried.values())]


def _configured(label: str, settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the method's name, and its settings that differ from the defaults."""
    kind = methods.get(label.partition("@")[0])
    for key in settings:
        if key not in kind.Config.model_fields:
            raise UsageError(f"--{key}: {kind.name} has no such setting; leave it out or choose another method")
    try:
        config = methods.configure(label, settings)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"])) or "/".join(settings)
        raise UsageError(f"--{key}: {problem['msg']} ({kind.name})") from error
    return kind.name, config.model_dump(mode="json", exclude_defaults=True)


def _case(
    dataset: str, network: str, method: str, settings: dict[str, Any], batch_size: int, subset: int | None
) -> RunConfig:
    whole = data.get(dataset)
    images = subset or whole.train_size
    if batch_size > images:
        raise UsageError(f"--batch-size: {batch_size} is more than the {images} training images; lower it")
    config = RunConfig(
        dataset=dataset,
        network=network,
        method=method,
        settings=settings,
        training=TrainingSettings(
            epochs=300,
            batch_size=batch_size,
            optimizer=OptimizerSettings(lr=0.1),
            schedule=MultistepSchedule(name="multistep", milestones=(150, 225)),
        ),
        data=DataSettings(subset=subset, test_subset=subset and -(-subset * whole.test_size // whole.train_size)),
        seed=0,
    )
    try:
        with weightless():
            methods.make(config, whole.classes)
    except ValueError as error:  # a pair for what is made of one network, or a teacher's run missing
        raise UsageError(f"--method {method} --network {network}: {error}; choose others") from error
    return config

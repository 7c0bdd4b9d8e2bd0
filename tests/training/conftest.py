from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from okdbench.config import CosineSchedule, DataSettings, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.methods import configure
from okdbench.runs.execution import Algorithms
from okdbench.runs.folder import RunFolder
from okdbench.training import Trainer
from okdbench.training.computation import configure_process


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def small() -> Callable[..., RunConfig]:
    """A run of seconds: 96 digits in batches of 32, 3 epochs of ResNet-8."""

    def make(method: str = "dkel", **settings: object) -> RunConfig:
        return RunConfig(
            dataset="digits",
            network="resnet8",
            method=method,
            settings=configure(method, settings).model_dump(mode="json", exclude_defaults=True),
            training=TrainingSettings(
                epochs=3,
                batch_size=40,
                optimizer=OptimizerSettings(lr=0.1),
                schedule=CosineSchedule(name="cosine"),
            ),
            data=DataSettings(subset=100, test_subset=50),
            seed=1,
        )

    return make


@pytest.fixture
def trainer(data_root: Path) -> Callable[..., Trainer]:
    """Makes a training in this process, which is set up as a worker is, whatever other tests have left of it."""

    def make(config: RunConfig, folder: Path, stop: Callable[[], bool] = lambda: False) -> Trainer:
        folder.mkdir(exist_ok=True)
        configure_process(Algorithms.deterministic, torch.device("cpu"))
        return Trainer(config, RunFolder(folder), data_root, torch.device("cpu"), stop)

    return make

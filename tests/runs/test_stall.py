"""A worker whose run does not advance ends, and says where it stands; one that only takes long does not."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from patience import wait_for

from okdbench.config import CosineSchedule, DataSettings, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.engines.local import LocalWorker, start_worker
from okdbench.plugins import VARIABLE
from okdbench.runs.folder import Exit, RunFolder
from okdbench.runs.records import State
from okdbench.worker import WorkerOptions

pytestmark = pytest.mark.slow

PLUGIN = """
import ctypes
import os
import time

from torch import nn

from okdbench.networks import Architecture, ClassifierHead, Parts

STEPS = []


def do(what):
    exec(os.environ.get(what, ""), globals())


class Does(nn.Module):
    def forward(self, images):
        do("IN_TRAINING" if self.training else "IN_EVALUATION")
        return images


def build(classes):
    do("AT_THE_START")
    stem, stage = nn.Sequential(nn.Conv2d(3, 4, 3), Does()), nn.Sequential(nn.Conv2d(4, 8, 3))
    return Parts(stem, [stage], ClassifierHead(nn.Linear(8, classes), 8), split=0, channels=(8,))


ARCHITECTURES = [Architecture("hanging", "Hanging", build, image_size=32)]
"""
Start = Callable[..., tuple[RunFolder, LocalWorker]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a worker on two epochs of two steps and two evaluations that do what is given, and leaves none behind."""
    started = []

    def start(limit: float, processes: int = 0, **does: str) -> tuple[RunFolder, LocalWorker]:
        plugin = tmp_path / "hanging.py"
        plugin.write_text(PLUGIN)
        monkeypatch.setenv(VARIABLE, str(plugin))
        for when, what in does.items():
            monkeypatch.setenv(when, what)
        optimizer, schedule = OptimizerSettings(lr=0.1), CosineSchedule(name="cosine")
        config = RunConfig(
            dataset="digits",
            network="hanging",
            method="baseline",
            settings={},
            seed=0,
            training=TrainingSettings(epochs=2, batch_size=40, optimizer=optimizer, schedule=schedule),
            data=DataSettings(subset=80, validation=20, test_subset=20),
            plugins={"network hanging": hashlib.sha256(PLUGIN.encode()).hexdigest()[:12]},
        )
        folder = RunFolder(tmp_path / "mine" / config.folder)
        folder.write_config(config)
        options = WorkerOptions(tmp_path, threads=1, processes=processes, stall_timeout=limit)
        started.append(start_worker([str(folder)], options))
        return folder, started[-1]

    yield start
    for worker in started:
        worker.kill()


def end(worker: LocalWorker) -> int:
    """The exit status of a worker that ends in time."""
    wait_for(lambda: worker.poll() is not None, seconds=240)
    return worker.poll()


@pytest.mark.parametrize("processes", [0, 2])
def test_the_stacks_are_in_the_log(processes: int, start: Start) -> None:
    folder, worker = start(5, processes, IN_TRAINING="STEPS.append(1); len(STEPS) > 2 and time.sleep(300)")
    assert end(worker) == Exit.stalled
    text = folder.log.read_text()
    assert "no progress for" in text and "(limit: 5 s); the process stands at:" in text
    assert "hanging.py" in text and "in forward" in text, text
    assert folder.state not in (State.running, State.failed) and not folder.state.done


def test_a_call_that_keeps_the_interpreters_lock_ends_too(start: Start) -> None:
    """Such as a C library's that waits for a device; no thread of Python can see it."""
    folder, worker = start(1, IN_EVALUATION="ctypes.PyDLL(None).sleep(300)")
    assert end(worker) == Exit.stalled
    text = folder.log.read_text()
    assert "most recent call first" in text and "in forward" in text, text
    assert not folder.state.under_way and not folder.state.done


def test_a_start_and_an_evaluation_that_take_long_count_as_progress(start: Start) -> None:
    folder, worker = start(10, AT_THE_START="time.sleep(12)", IN_EVALUATION="time.sleep(6)")
    assert end(worker) == Exit.done, folder.log.read_text()
    assert [epoch.seconds > 12 for epoch in folder.epochs] == [True, True]

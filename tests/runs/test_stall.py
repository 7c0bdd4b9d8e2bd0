"""A worker whose run does not advance ends, says where it stands, and its run is tried again."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from okdbench.config import CosineSchedule, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.methods import origins
from okdbench.plugins import VARIABLE
from okdbench.runs.folder import Exit, RunFolder
from okdbench.runs.records import State

ROOT = Path(__file__).parents[2]

HANGING = """
import time

from torch import nn

from okdbench.networks import Architecture, ClassifierHead, Parts


class Hangs(nn.Module):
    def forward(self, images):
        if self.training:
            time.sleep(300)
        return images


def build(classes):
    stem, stage = nn.Sequential(nn.Conv2d(3, 4, 3), Hangs()), nn.Sequential(nn.Conv2d(4, 8, 3))
    return Parts(stem, [stage], ClassifierHead(nn.Linear(8, classes), 8), split=0, channels=(8,))


ARCHITECTURES = [Architecture("hanging", "Hanging", build, image_size=32)]
"""


@pytest.mark.slow
def test_the_stacks_are_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = tmp_path / "hanging.py"
    plugin.write_text(HANGING)
    monkeypatch.setenv(VARIABLE, str(plugin))
    training = TrainingSettings(epochs=1, optimizer=OptimizerSettings(lr=0.1), schedule=CosineSchedule(name="cosine"))
    rest = {"settings": {}, "seed": 0, "training": training, "plugins": origins("baseline", "hanging")}
    config = RunConfig(dataset="digits", network="hanging", method="baseline", **rest)
    folder = RunFolder(tmp_path / "mine" / config.folder)
    folder.write_config(config)
    words = [sys.executable, "-m", "okdbench.worker", str(folder), "--data", str(tmp_path), "--stall-timeout", "15"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with folder.log.open("ab") as log:
        worker = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
    try:
        while folder.state is not State.running:
            time.sleep(0.1)
        assert worker.wait(120) == Exit.stalled
    finally:
        worker.kill()
        worker.wait()
    text = folder.log.read_text()
    assert "no progress for" in text and "most recent call first" in text and "_run_module_as_main" in text
    assert not folder.state.under_way and not folder.state.done

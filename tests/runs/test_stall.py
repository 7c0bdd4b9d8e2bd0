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
import ctypes
import time

from torch import nn

from okdbench.networks import Architecture, ClassifierHead, Parts


class Hangs(nn.Module):
    def forward(self, images):
        if self.training:
            stand_still(300)
        return images


def build(classes):
    stem, stage = nn.Sequential(nn.Conv2d(3, 4, 3), Hangs()), nn.Sequential(nn.Conv2d(4, 8, 3))
    return Parts(stem, [stage], ClassifierHead(nn.Linear(8, classes), 8), split=0, channels=(8,))


stand_still = {how}
ARCHITECTURES = [Architecture("hanging", "Hanging", build, image_size=32)]
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "status"), [("time.sleep", Exit.stalled), ("ctypes.PyDLL(None).sleep", Exit.failed)], ids=["thread", "all"]
)
def test_the_stacks_are_in_the_log(how: str, status: Exit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = tmp_path / "hanging.py"
    plugin.write_text(HANGING.replace("{how}", how))
    monkeypatch.setenv(VARIABLE, str(plugin))
    training = TrainingSettings(epochs=1, optimizer=OptimizerSettings(lr=0.1), schedule=CosineSchedule(name="cosine"))
    plugins = origins("baseline", "hanging")
    config = RunConfig(dataset="digits", network="hanging", method="baseline", training=training, plugins=plugins)
    folder = RunFolder(tmp_path / "mine" / config.folder)
    folder.write_config(config)
    words = [sys.executable, "-m", "okdbench.worker", str(folder), "--data", str(tmp_path), "--stall-timeout", "3"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with folder.log.open("ab") as log:
        worker = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
    try:
        while folder.state is not State.running:
            time.sleep(0.1)
        assert worker.wait(120) == status
    finally:
        worker.kill()
        worker.wait()
    assert "hanging.py" in (text := folder.log.read_text()) and "in forward" in text
    assert ("no progress for" in text) == (status is Exit.stalled)
    assert folder.state is State.pending, "nothing was recorded, and nobody works on it"

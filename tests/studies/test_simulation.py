"""A simulation's record: written, read back, and distrusted where it is damaged."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from okdbench.config import CLAIMS, SimulationConfig, SimulationSettings
from okdbench.errors import UsageError
from okdbench.files import read_json, write_json
from okdbench.runs.folder import Exit, RunFolder
from okdbench.runs.records import State
from okdbench.studies.monte_carlo import METHODS, simulate
from okdbench.studies.simulation import SimulationRecord, perform

CONFIG = SimulationConfig(name="small", settings=SimulationSettings(trials=20, epochs=12))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished run."""
    RunFolder(tmp_path / CONFIG.folder).write_record(perform(CONFIG, {"device": "cpu"}))
    return tmp_path / CONFIG.folder


def test_a_record_holds_curves_bands_claims_and_where_they_were_made(folder: Path) -> None:
    record = RunFolder(folder).record
    assert isinstance(record, SimulationRecord) and record.config == CONFIG and record.environment == {"device": "cpu"}
    assert tuple(record.curves) == tuple(METHODS), "in the order of the study, although JSON sorts its keys"
    for method, curve in simulate(CONFIG.settings).items():
        stored = record.curves[method]
        np.testing.assert_allclose(stored.mean, curve.mean, rtol=1e-6)
        np.testing.assert_allclose(stored.standard_error, curve.standard_error, rtol=1e-6)
        np.testing.assert_allclose(list(stored.quantiles.values()), curve.quantiles, rtol=1e-6)
        assert list(stored.quantiles) == ["0.05", "0.25", "0.75", "0.95"]
        for other, (mean, _) in curve.differences.items():
            np.testing.assert_allclose(stored.differences[other].mean, mean, rtol=1e-6)
    assert tuple(claim.name for claim in record.claims) == CLAIMS


def test_a_run_that_is_not_done_has_no_record(tmp_path: Path) -> None:
    assert RunFolder(tmp_path / CONFIG.folder).record is None


@pytest.mark.parametrize("damage", ["curves", "claims", "config"])
def test_a_damaged_record_is_named(folder: Path, damage: str) -> None:
    record = read_json(folder / "record.json")
    record[damage] = {"curves": {"pcl": record["curves"]["pcl"]}, "claims": [], "config": {"name": "small"}}[damage]
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match=f"{folder / 'record.json'}: not a valid record .{damage}"):
        RunFolder(folder).record_of(SimulationRecord)


@pytest.mark.slow
def test_a_signal_ends_a_simulation_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    config = SimulationConfig(name="long", settings=SimulationSettings(trials=200_000))
    folder = tmp_path / config.folder
    write_json(folder / "config.json", config.model_dump(mode="json"))
    worker = subprocess.Popen([sys.executable, "-m", "okdbench.worker", str(folder), "--data", str(tmp_path)])
    try:
        while RunFolder(folder).state is not State.running:
            assert worker.poll() is None
            time.sleep(0.02)
        time.sleep(0.3)
        worker.send_signal(signal.SIGINT)
        assert worker.wait(120) == Exit.interrupted
    finally:
        worker.kill()
        worker.wait()
    assert RunFolder(folder).state is State.pending and not (folder / "failure.json").exists()

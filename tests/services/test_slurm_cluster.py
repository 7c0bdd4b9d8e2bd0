"""The Slurm engine with a real Slurm of one node, which this starts; skipped, with the reason, where it cannot."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import wait_for
from services.grid import RUNS, done, metrics, okdbench, records, report

from okdbench.runs.folder import RunFolder

pytest.importorskip("submitit")

SCRIPT = Path(__file__).parent / "slurm.sh"
pytestmark = pytest.mark.slow


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.fixture(scope="module")
def slurm() -> Iterator[str]:
    """The value of SLURM_CONF for a Slurm that runs until the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short, because a socket lies in it
    try:
        words = ["bash", str(SCRIPT), "start", str(folder), free_port(), free_port()]
        started = subprocess.run(words, capture_output=True, text=True, check=False)
        if started.returncode:
            pytest.skip((started.stderr.strip().splitlines() or ["Slurm does not start"])[-1])
        yield started.stdout.strip()
    finally:
        subprocess.run(["bash", str(SCRIPT), "stop", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def queue(slurm: str) -> dict[str, tuple[str, str]]:
    """State and reason of the jobs that have not ended."""
    words = ["squeue", "--noheader", "--array", "--format=%i %T %r"]
    out = subprocess.run(words, env={**os.environ, "SLURM_CONF": slurm}, capture_output=True, text=True, check=True)
    lines = (line.split(maxsplit=2) for line in out.stdout.splitlines())
    return {identifier: (state, reason) for identifier, state, reason in lines}


def control(slurm: str, *words: str) -> None:
    subprocess.run(words, env={**os.environ, "SLURM_CONF": slurm}, check=True)


def running(slurm: str, folder: Path) -> list[str]:
    """The jobs whose runs are in their first epoch."""
    runs: dict[str, list[str]] = {}
    for path in (folder / "results" / ".slurm").glob("*.json"):
        runs |= json.loads(path.read_text())
    at_work = [job for job, (state, _) in queue(slurm).items() if state == "RUNNING"]
    return [job for job in at_work if job in runs and epoch(folder / "results" / runs[job][0]) == 0]


def epoch(run: Path) -> int | None:
    found = RunFolder(run).progress
    return found.epoch if found else None


def test_a_grid_with_requeued_jobs_and_a_command_that_goes_away(slurm: str, folder: Path, undisturbed: Path) -> None:
    (folder / "okdbench.toml").write_text('[engine.slurm]\npartition = "short"\ntime = 30\n')
    words = ("run", "grid.yaml", "--engine", "slurm", "--jobs-per-device", "5")
    first = okdbench(*words, folder=folder, SLURM_CONF=slurm)
    preempted = wait_for(lambda: running(slurm, folder))[0]
    waiting = [reason for _, reason in queue(slurm).values()]
    assert "Dependency" in waiting, "students' jobs wait in Slurm for their teachers'"
    control(slurm, "scontrol", "requeue", preempted)
    first.send_signal(signal.SIGINT)
    out = done(first, status=130)
    assert "Slurm jobs go on: the same command watches them again" in out and "continue with: " in out
    assert "nothing left" not in out
    submitted = sorted((folder / "results" / ".slurm").glob("*.json"))
    out_of_time = wait_for(lambda: [job for job in running(slurm, folder) if job != preempted])[0]
    control(slurm, "scancel", "--signal=USR2", out_of_time)  # what Slurm sends before the time limit
    out = done(okdbench(*words, folder=folder, SLURM_CONF=slurm))
    assert f"{RUNS} runs: {RUNS} finished" in out
    assert sorted((folder / "results" / ".slurm").glob("*.json")) == submitted, "nothing was submitted twice"
    logs = {
        name: (folder / "results" / ".slurm" / f"{name}_0_log.out").read_text() for name in (preempted, out_of_time)
    }
    assert all(log.count("Starting with") > 1 for log in logs.values()), "both jobs were started again"
    assert len(records(folder / "results")) == RUNS
    assert metrics(folder / "results") == metrics(undisturbed)
    assert report(folder / "results") == report(undisturbed)


def test_a_wrong_partition_is_said_in_one_line(slurm: str, folder: Path) -> None:
    words = ("run", "grid.yaml", "--engine", "slurm", "--engine-option", "time=5", "--engine-option", "partition=gpu")
    out = done(okdbench(*words, folder=folder, SLURM_CONF=slurm), status=2)
    assert "error: --engine slurm: sbatch: error: invalid partition specified: gpu; see the section" in out
    assert "Traceback" not in out

"""Two machines with one results folder on a real NFS server, which this starts; skipped, with the reason, if it cannot.

The machines are Linux systems of their own (see nfs.sh): they see each other's files through NFS and its caches alone.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import PATIENCE, wait_for
from services.grid import ENVIRONMENT, RECIPE, metrics

from okdbench.runs.find import runs_below
from okdbench.runs.folder import RunFolder
from okdbench.runs.lease import newest

SCRIPT = Path(__file__).parent / "nfs.sh"
RUN = ("run", "grid.yaml", "-s", "0", "--epochs", "16")
RUNS = 3
"""The baseline, the student and its teacher."""
pytestmark = pytest.mark.slow


def nfs(*words: str) -> list[str]:
    return ["bash", str(SCRIPT), *words]


@pytest.fixture
def served() -> Iterator[Path]:
    """A folder whose ``export`` is served."""
    folder = Path(tempfile.mkdtemp(prefix="nfs-"))
    try:
        started = subprocess.run(nfs("serve", str(folder)), capture_output=True, text=True, check=False)
        if started.returncode:
            pytest.skip((started.stderr.strip().splitlines() or ["the NFS server does not start"])[-1])
        (folder / "grid.yaml").write_text(RECIPE)
        yield folder
    finally:
        subprocess.run(nfs("stop", str(folder)), check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


class Machine:
    """A machine that executes one okdbench command, whose results go to ``export/RESULTS``."""

    def __init__(self, folder: Path, number: int, *words: str, results: str = "results", clock: str = "") -> None:
        self.name = f"machine-{number}"
        self.output = folder / f"{self.name}.out"
        self.kernel = folder / f"boot-{number}.log"
        places = {"OKDBENCH_RESULTS": str(folder / "export" / results), "OKDBENCH_DATA": str(folder / f"data-{number}")}
        command = [sys.executable, "-m", "okdbench", *words]
        if clock:
            command = ["bash", "-c", 'date --set="$0" && exec "$@"', clock, *command]
        self.process = subprocess.Popen(
            nfs("machine", str(folder), str(number), *command),
            cwd=folder,
            env={**ENVIRONMENT, "OMP_NUM_THREADS": "1", **places},
            start_new_session=True,
        )

    def at_work(self, results: Path) -> RunFolder | None:
        """The run that it trains just now, if it has come some way."""
        assert self.process.poll() is None, self.output.read_text()
        for run in runs_below(results):
            _, beat = newest(run.path)
            if beat and beat.host == self.name and not beat.released and run.progress and run.progress.epoch > 1:
                return run
        return None

    def cut_power(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def done(self) -> str:
        """What the command has printed; it must have succeeded, and the machine then halted or aborted (see nfs.sh)."""
        self.process.wait(PATIENCE)
        out = self.output.read_text()
        ended = self.process.returncode in (0, -signal.SIGABRT)
        assert ended and out.endswith("status 0\n"), f"{out}\n{self.kernel.read_text()}"
        return out


def test_a_machine_and_the_server_fail_and_each_run_ends_as_without(served: Path) -> None:
    results = served / "export" / "results"
    machines = [Machine(served, number, *RUN, clock=clock) for number, clock in ((1, "-1 hour"), (2, "+1 hour"))]
    wait_for(lambda: machines[0].at_work(results) or machines[1].at_work(results))
    os.kill(int((served / "ganesha.pid").read_text()), signal.SIGKILL)
    subprocess.run(nfs("serve", str(served)), check=True)
    left = wait_for(lambda: machines[0].at_work(results))
    machines[0].cut_power()
    alone = Machine(served, 1, *RUN, results="alone")
    out = machines[1].done()
    assert f"{RUNS} runs: {RUNS} finished" in out
    assert newest(left.path)[1].host == "machine-2", "the run was taken over"
    alone.done()
    assert len(metrics(results)) == RUNS and metrics(results) == metrics(served / "export" / "alone")
    words = ("report", *RUN[1:], "--format", "csv")
    reports = [Machine(served, 2, *words, results=each).done() for each in ("results", "alone")]
    assert reports[0] == reports[1]

"""The Ray engine with a real cluster of two nodes on this machine, one of which dies."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import PATIENCE, wait_for
from services.grid import ENVIRONMENT, RUNS, descendants, done, metrics, okdbench, records, report

pytest.importorskip("ray")

pytestmark = pytest.mark.slow
RAY = Path(sys.executable).parent / "ray"
NODE = ("--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Cluster:
    """A head and another node, each of one CPU."""

    def __init__(self, folder: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        port = self.address.rpartition(":")[2]
        self.head = self._start("--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false")
        self.other = self._start(f"--address={self.address}")

    def _start(self, *words: str) -> list[int]:
        """Start a node; its processes, which are those of the process group."""
        started = subprocess.Popen(
            [RAY, "start", *words, *NODE],
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert started.wait(timeout=PATIENCE) == 0
        lines = subprocess.run(["ps", "-eo", "pid=,sid="], capture_output=True, text=True, check=True).stdout
        return [int(line.split()[0]) for line in lines.splitlines() if int(line.split()[1]) == started.pid]

    @staticmethod
    def tree(node: list[int]) -> dict[int, str]:
        """All processes of a node with their commands, the workers of its tasks among them."""
        found: dict[int, str] = {}
        for process in node:
            found |= descendants(process)
        return found

    def kill(self, node: list[int]) -> None:
        """End a node at once, as a machine that loses its power."""
        for process in self.tree(node):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        found = Cluster(folder)
        try:
            yield found
        finally:
            found.kill(found.other)
            found.kill(found.head)


def test_a_grid_while_a_node_dies(cluster: Cluster, folder: Path, undisturbed: Path) -> None:
    words = ("run", "grid.yaml", "--engine", "ray", "--device", "cpu")
    process = okdbench(*words, folder=folder, RAY_ADDRESS=cluster.address)
    results = folder / "results"

    def worker_of_the_other() -> bool:
        return any("okdbench.worker" in command for command in cluster.tree(cluster.other).values())

    wait_for(lambda: process.poll() is not None or (len(records(results)) >= 4 and worker_of_the_other()))
    cluster.kill(cluster.other)
    out = done(process)
    assert "30 runs to train on Ray (2 nodes): 2 at a time with 1 CPU core each\n" in out
    assert f"{RUNS} runs: {RUNS} finished" in out
    assert metrics(results) == metrics(undisturbed)
    assert report(results) == report(undisturbed)


def test_results_are_brought_from_nodes_that_share_no_storage(folder: Path) -> None:
    (folder / "okdbench.toml").write_text("[engine.ray]\nshared = false\n")
    words = ("run", "grid.yaml", "-m", "kd", "-s", "0", "--engine", "ray", "--device", "cpu")
    out = done(okdbench(*words, folder=folder, RAY_TMPDIR=tempfile.gettempdir()))
    assert "2 runs to train on Ray (1 node): " in out and "2 runs: 2 finished" in out
    for path in records(folder / "results"):
        assert {"record.json", "metrics.jsonl", "weights.pt", "log.txt"} <= {
            each.name for each in path.parent.iterdir()
        }
    assert len(records(folder / "results")) == 2

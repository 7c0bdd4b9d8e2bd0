"""Runs that several processes train together, as real processes: results, signals, kills and failures."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import image_folder
import pytest
import torch
from patience import PATIENCE, wait_for

from okdbench import worker
from okdbench.config import CosineSchedule, DataSettings, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.files import read_json
from okdbench.methods import configure
from okdbench.plugins import VARIABLE
from okdbench.runs.folder import Exit, RunFolder
from okdbench.runs.launch import combine_exit_codes, launch
from okdbench.runs.records import State

ROOT = Path(__file__).parents[2]
WORKER = [sys.executable, "-m", "okdbench.worker"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TORCHRUN += ["-m", "okdbench.worker"]

PLAIN = '''
from torch import nn

from okdbench.networks import Architecture, ClassifierHead, Parts


def build(classes):
    """No batch statistics: every image passes by itself."""
    stem = nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.GroupNorm(2, 8), nn.ReLU())
    stage = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2), nn.GroupNorm(2, 16), nn.ReLU())
    return Parts(stem, [stage], ClassifierHead(nn.Linear(16, classes), 16), split=0, channels=(16,))


ARCHITECTURES = [Architecture("plain", "Plain", build, image_size=224)]
'''


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a program on a run's folder, and leaves none behind."""
    started = []

    def start(command: list[str], folder: Path, *options: str, plugin: Path | None = None) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **({VARIABLE: str(plugin)} if plugin else {})}
        words = [*command, str(folder), "--data", str(tmp_path / "data"), "--threads", "1", *options]
        with (folder / "log.txt").open("ab") as log:
            started.append(subprocess.Popen(words, env=environment, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def run(folder: Path, **changes: object) -> Path:
    """A run of seconds in a folder of its own: 100 digits in batches of 40, 3 epochs of ResNet-8."""
    training = {"epochs": 3, "batch_size": 40, "optimizer": OptimizerSettings(lr=0.1)}
    settings = {
        "dataset": "digits",
        "network": "resnet8",
        "method": "dkel",
        "settings": configure("dkel", {}).model_dump(mode="json", exclude_defaults=True),
        "training": TrainingSettings(**training, schedule=CosineSchedule(name="cosine")),
        "data": DataSettings(subset=100, test_subset=50),
        "seed": 1,
    }
    folder.mkdir()
    (folder / "config.json").write_text(RunConfig(**{**settings, **changes}).model_dump_json())
    return folder


def lines(folder: Path) -> list[dict]:
    found = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in {"seconds", "images_per_second"}} for line in found]


def wait_for_an_epoch(folder: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not RunFolder(folder).epochs:
        assert time.monotonic() < deadline and process.poll() is None, (folder / "log.txt").read_text()
        time.sleep(0.01)


@pytest.mark.slow
def test_two_processes_on_a_folder_of_images_do_what_one_does(tmp_path: Path, start) -> None:
    image_folder.make(tmp_path / "data", classes=3, train=8, test=3)
    plugin = tmp_path / "plain.py"
    plugin.write_text(PLAIN)
    changes = {
        "dataset": image_folder.NAME,
        "network": "plain",
        "method": "dml",
        "settings": {},
        "data": DataSettings(),
        "training": TrainingSettings(
            epochs=2, batch_size=8, optimizer=OptimizerSettings(lr=0.05), schedule=CosineSchedule(name="cosine")
        ),
        "plugins": {"network plain": hashlib.sha256(PLAIN.encode()).hexdigest()[:12]},
    }
    alone, together = run(tmp_path / "alone", **changes), run(tmp_path / "together", **changes)
    exactly = "--precision=float32"
    processes = start(WORKER, alone, exactly, plugin=plugin), start(TORCHRUN, together, exactly, plugin=plugin)
    assert [process.wait(PATIENCE) for process in processes] == [0, 0], (together / "log.txt").read_text()
    records = [read_json(folder / "record.json") for folder in (alone, together)]
    assert [record["environment"]["processes"] for record in records] == [1, 2]
    assert all(record["status"] == "finished" for record in records)
    for one, two in zip(lines(alone), lines(together), strict=True):
        assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
        for head, metrics in one["heads"].items():
            assert two["heads"][head] == pytest.approx(metrics, rel=1e-4)
    weights = [torch.load(folder / "weights.pt") for folder in (alone, together)]
    assert weights[0]["peers.0.branch.head.classifier.weight"].shape[0] == 3, "as many classes as the folder has"
    for name, value in weights[0].items():
        assert torch.allclose(weights[1][name], value, rtol=1e-4, atol=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("files", [False, True], ids=["packed", "files"])
def test_a_killed_run_continues_to_the_same_bits(files: bool, tmp_path: Path, start) -> None:
    changes = {}
    if files:
        image_folder.make(tmp_path / "data", classes=2, train=8, test=2)
        training = long_training().model_copy(update={"epochs": 4})
        changes = {"dataset": image_folder.NAME, "data": DataSettings(), "training": training}
    whole, killed = run(tmp_path / "whole", **changes), run(tmp_path / "killed", **changes)
    reference = start(WORKER, whole, "--processes", "2")
    process = start(WORKER, killed, "--processes", "2")
    wait_for_an_epoch(killed, process)
    process.send_signal(signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL
    wait_for(lambda: RunFolder(killed).state is not State.running, seconds=60)
    assert not (killed / "record.json").exists()
    assert start(WORKER, killed, "--processes", "2").wait(PATIENCE) == Exit.done
    assert reference.wait(PATIENCE) == Exit.done
    assert lines(whole) == lines(killed)
    records = [read_json(folder / "record.json") for folder in (whole, killed)]
    assert records[0]["weights_sha256"] == records[1]["weights_sha256"]
    assert not RunFolder(killed).checkpoints


@pytest.mark.slow
def test_an_interrupt_stops_all_and_the_run_continues_to_the_same_bits(tmp_path: Path, start) -> None:
    whole, stopped = run(tmp_path / "whole"), run(tmp_path / "stopped")
    reference = start(WORKER, whole, "--processes", "2")
    process = start(WORKER, stopped, "--processes", "2")
    wait_for_an_epoch(stopped, process)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
        process.send_signal(number)
    assert process.wait(PATIENCE) == Exit.interrupted, (stopped / "log.txt").read_text()
    assert RunFolder(stopped).state is State.interrupted
    assert start(WORKER, stopped, "--processes", "4").wait(PATIENCE) == Exit.failed
    assert "continue with --processes 2" in read_json(stopped / "failure.json")["error"]
    assert start(WORKER, stopped, "--processes", "2").wait(PATIENCE) == Exit.done
    assert reference.wait(PATIENCE) == Exit.done
    assert lines(whole) == lines(stopped)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for the processes in /proc")
def test_a_process_that_dies_ends_all_and_the_reason_is_told(tmp_path: Path, start) -> None:
    folder = run(tmp_path / "run", training=long_training())
    process = start(WORKER, folder, "--processes", "2")
    wait_for_an_epoch(folder, process)
    busy = start(WORKER, folder, "--processes", "2")
    assert {address for pid in (process.pid, *children(process.pid)) for address in listening(pid)} == {"127.0.0.1"}
    assert busy.wait(PATIENCE) == Exit.busy and RunFolder(folder).state is State.running
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    assert process.wait(PATIENCE) == Exit.failed
    assert RunFolder(folder).state is State.failed
    error = read_json(folder / "failure.json")["error"]
    assert "of 2 died of SIGKILL; often the machine ran out of memory" in error and "\n" not in error


@pytest.mark.slow
def test_what_fails_in_one_process_is_told_in_one_line(tmp_path: Path, start) -> None:
    folder = image_folder.make(tmp_path / "data", classes=2, train=8, test=2)
    [broken] = (folder / "train" / "n00000001").glob("7.JPEG")
    broken.write_bytes(b"")
    training = long_training()
    run_folder = run(tmp_path / "run", dataset=image_folder.NAME, data=DataSettings(), training=training)
    assert start(WORKER, run_folder, "--processes", "2").wait(PATIENCE) == Exit.failed
    error = read_json(run_folder / "failure.json")["error"]
    assert error.startswith(f"{broken}: not a readable image") and "\n" not in error
    wait_for(lambda: RunFolder(run_folder).state is not State.running, seconds=60)


def long_training() -> TrainingSettings:
    return TrainingSettings(
        epochs=300, batch_size=8, optimizer=OptimizerSettings(lr=0.1), schedule=CosineSchedule(name="cosine")
    )


def children(pid: int) -> list[int]:
    """The processes that a process has started, in the order of their numbers."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return sorted(child for child, parent in parents.items() if parent == pid)


def listening(pid: int) -> set[str]:
    """The IPv4 addresses, and "IPv6", at which a process waits for connections."""
    found = set()
    for name in ("tcp", "tcp6"):
        rows = [line.split() for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]]
        sockets = {f"socket:[{row[9]}]": row[1] for row in rows if row[3] == "0A"}
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if address := sockets.get(str(link.readlink())):
                    octets = bytes.fromhex(address.partition(":")[0])[::-1]
                    found.add(".".join(map(str, octets)) if name == "tcp" else "IPv6")
    return found


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        ({0: 75, 1: 75}, Exit.interrupted),
        ({1: 75}, Exit.interrupted),
        ({0: 76, 1: 76}, Exit.busy),
        ({0: 76, 1: 1}, Exit.busy),
        ({0: 1, 1: 79}, Exit.stalled),
        ({0: 75, 1: 1}, Exit.failed),
    ],
)
def test_exit_codes_are_combined_into_one(codes: dict[int, int], status: Exit, tmp_path: Path) -> None:
    assert combine_exit_codes(RunFolder(tmp_path), 2, codes) == status
    assert not list(tmp_path.iterdir())


def test_a_process_that_ends_slowly_after_the_first_counts_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n[ $RANK = 0 ] && exit 76\nsleep 1\ntouch {tmp_path}/ended\nexit 76\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    monkeypatch.setattr("okdbench.runs.launch.on_stop_signals", lambda handler: None)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    assert launch(2, folder, [], 1) == Exit.busy
    assert (tmp_path / "ended").exists() and not list(folder.path.iterdir())


def test_the_worker_hands_its_options_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(worker, "launch", lambda *arguments: given.append(arguments) or 0)
    assert worker.main([str(tmp_path), "--data=images", "--device", "cuda:1", "--threads", "3", "--processes=2"]) == 0
    [(processes, folder, options, threads)] = given
    assert (processes, folder, threads) == (2, RunFolder(tmp_path), 3)
    assert {"--data=images", "--device=cuda:1", "--threads=3"} <= {*options}
    assert not any("processes" in option for option in options)

"""benchmarks/gpu_run: rehearsed as real processes, and its pieces on what they decide."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from pages import parsed
from patience import PATIENCE

from benchmarks.gpu_run import summary
from benchmarks.gpu_run.check import Curve, Trial, compare
from benchmarks.gpu_run.children import ROOT, Children, perform
from benchmarks.gpu_run.items import LIMITS, METHODS, Item, Place, items
from okdbench import data
from okdbench.runs.execution import Backend, GraphError, Precision


def gpu_run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu_run", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=ROOT)


@pytest.mark.slow
def test_a_whole_rehearsal(tmp_path: Path) -> None:
    prepared, output = tmp_path / "prepared", tmp_path / "out"
    begun = gpu_run("prepare", "--rehearse", "--prepared", prepared)
    assert begun.returncode == 0, begun.stderr
    assert "headline: about" in (prepared / "items.txt").read_text()
    there = ("--rehearse", "--device", "cpu", "--prepared", prepared, "--output", output)
    for command in LIMITS:
        done = gpu_run(command, *there, "--seconds", 900)
        assert done.returncode == 0, done.stdout + done.stderr + (output / "log.txt").read_text()
        found = json.loads((output / f"{command}.json").read_text())
        assert all("found" in entry for entry in found.values()), found
    text = (output / "summary.txt").read_text()
    assert done.stdout.endswith(text) and text.startswith(summary.REHEARSAL)
    left = [line.partition("  ")[0] for line in text.splitlines() if summary.MISSING in line]
    assert left == [
        "graph against eager, float32",
        "graph against eager, bfloat16",
        "ResNet-32 DKEL, whole epoch against as-published",
        "ResNet-32 DKEL, whole epoch against fair-eager",
        "ResNet-32 DKEL, whole epoch",
        "ResNet-32 baseline, 300 epochs with evaluation",
        "ResNet-32 baseline, 3 runs in turns against 1",
        "dkel-table1, 240 runs",
        "G2 the same as a graph, float32",
        "G3 and compiled, bfloat16, fast",
        "ResNet-32 DKEL compiled, bfloat16, fast",
        "ResNet-32 DKEL as a graph, float32, TF32, fast",
        "G6 teacher in a stream of its own",
        "G7 cost of deterministic algorithms, DKEL",
    ]
    again = gpu_run("table", "--output", output)
    assert again.stdout == text
    assert len(list(output.glob("results/bench/*/*.json"))) == 3


def test_what_was_not_prepared_is_not_begun(tmp_path: Path) -> None:
    done = gpu_run("gate", "--prepared", tmp_path, "--output", tmp_path / "out")
    assert done.returncode == 2 and 'run "python -m benchmarks.gpu_run prepare"' in done.stderr
    assert not (tmp_path / "out").exists()


def script(name: str, code: str, seconds: float = 0.0, limit: float = 60.0) -> Item:
    return Item(name, ("-c", f"import json, sys, time; output = sys.argv[-1]; {code}"), seconds, limit)


def test_each_item_has_its_time_and_leaves_its_finding(tmp_path: Path) -> None:
    path, write = tmp_path / "gate.json", "json.dump({'a': 1}, open(output, 'w'))"
    chosen = [
        script("good", write),
        script("bad", "raise ValueError('no')"),
        script("slow", f"{write}; time.sleep(60)", limit=2.0),
        script("long", write, seconds=1000.0),
        Item("said", ("-c", "print('hello')"), 0.0, 60.0, prints=True),
    ]
    children = Children(tmp_path / "log.txt")
    found = perform(chosen, path, time.monotonic() + 100, children)
    assert found == json.loads(path.read_text())
    assert found["good"]["found"] == {"a": 1} and found["said"]["found"] == "hello\n"
    assert found["bad"]["error"] == "exit status 1: ValueError: no"
    assert found["slow"]["error"] == "its time was over"
    assert "about 1000 s needed" in found["long"]["skipped"]
    assert summary.wrong(found) == ["bad", "slow"]
    assert "ValueError: no" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(("off", "right"), [(3e-6, True), (2e-5, False), (None, False)])
def test_a_graph_that_leads_astray_or_fails_is_wrong(
    off: float | None, right: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def made(trial: Trial, device: torch.device, backend: Backend, precision: Precision) -> Curve:
        if backend == Backend.graph and off is None:
            raise GraphError("not recorded: why")
        return Curve([4.0 + 4 * (off or 0.0)], "hash") if backend == Backend.graph else Curve([4.0])

    monkeypatch.setattr("benchmarks.gpu_run.check.curve", made)
    reference = {"values": [4.0], "float32": 1e-8, "bfloat16": 1e-5}
    found = compare(Trial("baseline", tmp_path), torch.device("cuda"), reference)
    gate = {"check baseline": {"found": found}}
    assert found["float32"]["right"] is right
    assert summary.wrong(gate) == ([] if right else ["check baseline"])
    assert ("not recorded: why" in "".join(summary.table(gate, {}))) is (off is None)


def test_runs_in_turns_must_have_the_weights_of_runs_alone() -> None:
    gate: dict[str, Any] = {"turns, weights": {"found": {"same-weights": {"same": [True, False, True]}}}}
    assert summary.wrong(gate) == ["turns, weights"]
    [line] = [line for line in summary.table(gate, {}) if line.startswith("runs in turns")]
    assert line.endswith("DIFFERENT")


def test_the_table_shows_what_was_measured_beside_the_predictions() -> None:
    spread = {"median": 13.4, "low": 13.0, "high": 14.0}
    dkel = {
        "epochs": {"ratios": {"as-published": spread}, "images": 50_000},
        "ratios": {"as-published": spread},
        "peak_memory_bytes": 2.5e9,
        "epoch_seconds": 1.0,
        "step_ms": 4.0,
        "percent_of_floor": 30.0,
    }
    headline = {
        "dkel": {"found": dkel},
        "dkel, epoch": {"found": dkel},
        "turns": {"found": {"turns": {"1": 50, "3": 80}}},
        "probes": {"skipped": "2 s left"},
    }
    table = {line.partition("  ")[0]: line.split("  ")[-1].strip() for line in summary.table({}, headline)}
    assert table["ResNet-32 DKEL, whole epoch against as-published"] == "13.4x"
    assert table["ResNet-32 DKEL, memory of a run"] == "2.50 GB"
    assert table["ResNet-32 baseline, 3 runs in turns against 1"] == "1.60x"
    assert table["G4 baseline, 2 / 3 / 4 / 8 runs in turns"] == "- / 1.60x / - / -"
    assert table["G0 copy; 8192^3 bf16 product"] == summary.MISSING
    assert table["probes"] == "2 s left"
    few = {**dkel, "epochs": {**dkel["epochs"], "images": 2_000}}
    lines = summary.table({}, {"dkel, epoch": {"found": few}})
    [line] = [line for line in lines if "whole epoch against as-pub" in line]
    assert line.endswith(summary.MISSING), "an epoch of few images is not the epoch that the target is for"


def test_commands_that_only_a_gpu_runs_are_understood(tmp_path: Path) -> None:
    for command, limit in LIMITS.items():
        chosen = items(command, Place("cuda:0", tmp_path, tmp_path))
        assert len({item.name for item in chosen}) == len(chosen)
        assert all(item.seconds < item.limit < limit for item in chosen)
        for item in chosen:
            if "bench" in item.words:
                verb, options = parsed(list(item.words[2:]))
                assert verb == "bench" and [data.get(name).stands_for or name for name in options["dataset"]] == [
                    "cifar100"
                ]
    gate = items("gate", Place("cuda:0", tmp_path, tmp_path))
    assert [item.name for item in gate if item.name.startswith("check")] == [f"check {name}" for name in METHODS]
    assert sum(item.seconds for item in gate) < LIMITS["gate"]

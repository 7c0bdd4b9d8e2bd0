"""The part "together": several runs that take turns in one process, against one run alone."""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gpu_run.parts import Part
from benchmarks.gpu_run.session import Session
from okdbench.runs.folder import RunFolder
from okdbench.runs.records import Record

OPTION = "--jobs-per-device"
RECIPE = Path(__file__).with_name("together.yaml")
JOBS = (1, 3, 2, 4, 8)
"""Numbers of runs at a time, the most informative first."""


def together(session: Session, seconds: float) -> None:
    """Images per second of several runs together, and whether each ended in the weights of a run alone."""
    part = Part(session.file("together"), seconds)
    for method in ("baseline", "dkel"):
        for jobs in (1, 2) if session.rehearsal else JOBS:
            needs = 0 if session.rehearsal else 20 + (8 if method == "dkel" else 3) * jobs
            part.item(f"{method} S={jobs}", partial(_run, session, method, jobs, part), needs)


def _run(session: Session, method: str, jobs: int, part: Part) -> dict[str, Any]:
    """In a folder of its own, so that no run is reused."""
    with tempfile.TemporaryDirectory() as results:
        words = ["run", str(RECIPE), "-m", method, *(f"--seed={seed}" for seed in range(jobs)), OPTION, str(jobs)]
        words += ["-n", "resnet8", "--smoke"] if session.rehearsal else ["-n", "resnet32"]
        words += ["--data", str(session.data), "--results", results, "--device", session.device]
        session.children.okdbench(words, part.left).text()
        return _read(Path(results))


def _read(results: Path) -> dict[str, Any]:
    """All runs of a results folder: their speed together, after the first two epochs or after one of two, and more."""
    rate, memory, weights, computed = 0.0, 0, dict[str, str](), dict[str, Any]()
    for path in sorted(results.glob("*/*/record.json")):
        folder = RunFolder(path.parent)
        record, epochs = folder.record, folder.epochs
        assert isinstance(record, Record)
        rate += median(epoch.images_per_second for epoch in epochs[min(2, len(epochs) - 1) :])
        weights[str(record.config.seed)] = str(record.weights_sha256)
        memory = max(memory, record.peak_memory_bytes or 0)
        computed = {key: record.environment.get(key) for key in ("backend", "backend_note", "precision", "algorithms")}
    return {"images_per_second": rate, "weights": weights, "peak_memory_bytes": memory, **computed}


def differing(findings: Mapping[str, Any], method: str) -> list[str]:
    """Which runs did not end in the weights that the same run had alone, or in the fewest turns that trained it."""
    first: dict[str, str] = {}
    wrong = []
    for name, entry in findings.items():
        if name.startswith(f"{method} ") and "found" in entry:
            for seed, weights in entry["found"]["weights"].items():
                if first.setdefault(seed, weights) != weights:
                    wrong.append(f"{name} seed {seed}")
    return wrong

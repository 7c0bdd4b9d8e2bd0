"""The part "together" of on_gpu.py: several runs that take turns in one process, against one run alone."""

import json
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from children import HERE
from parts import Part
from place import Place

OPTION = "--jobs-per-device"
RECIPE = HERE / "together.yaml"
JOBS = (1, 3, 2, 4, 8)
"""What decides most comes first."""


def together(place: Place, seconds: float) -> None:
    """Images per second of so many runs together, and whether each ended in the weights of a run alone."""
    part = Part(place.file("together"), seconds)
    for method in ("baseline", "dkel"):
        for jobs in (1, 2) if place.rehearsal else JOBS:
            needs = 0 if place.rehearsal else 20 + (8 if method == "dkel" else 3) * jobs
            part.item(f"{method} S={jobs}", partial(_run, place, method, jobs, part), needs)


def _run(place: Place, method: str, jobs: int, part: Part) -> dict[str, Any]:
    """In a folder of its own, so that nothing is taken over from other runs."""
    with tempfile.TemporaryDirectory() as results:
        words = ["run", str(RECIPE), "-m", method, *(f"--seed={seed}" for seed in range(jobs)), OPTION, str(jobs)]
        words += ["-n", "resnet8", "--smoke"] if place.rehearsal else ["-n", "resnet32"]
        words += ["--data", str(place.data), "--results", results, "--device", place.device]
        place.children.okdbench(words, part.left).text()
        return _read(Path(results))


def _read(results: Path) -> dict[str, Any]:
    """All runs of a results folder: their speed together after the first two epochs (or after one of two), and more."""
    rate, memory, weights, computed = 0.0, 0, dict[str, str](), dict[str, Any]()
    for path in sorted(results.glob("*/*/record.json")):
        record = json.loads(path.read_text())
        lines = [json.loads(line) for line in path.with_name("metrics.jsonl").read_text().splitlines()]
        rate += median(line["images_per_second"] for line in lines[min(2, len(lines) - 1) :])
        weights[str(record["config"]["seed"])] = record["weights_sha256"]
        memory = max(memory, record["peak_memory_bytes"])
        computed = {
            key: record["environment"].get(key) for key in ("backend", "backend_note", "precision", "algorithms")
        }
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

"""A grid of 30 small runs, ten of them students of ten others, and what is compared of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from patience import PATIENCE

ROOT = Path(__file__).parent.parent.parent
RECIPE = """
title: A grid of 30 runs
source: {paper: none, year: 2026, table: Table 1}
kind: training
grid:
  dataset: [digits]
  network: [resnet8]
  method: [baseline, kd]
seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
teachers:
  kd: {network: resnet20, method: baseline}
training:
  epochs: 3
  batch_size: 64
  optimizer: {lr: 0.1}
  schedule: {name: cosine}
data: {subset: 128}
table: {rows: network, columns: method}
"""
RUNS = 30
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("OKDBENCH_")} | {
    "PYTHONPATH": str(ROOT),
    "COLUMNS": "120",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
}

STARTED: list["subprocess.Popen[str]"] = []


def okdbench(*words: str, folder: Path, **variables: str) -> "subprocess.Popen[str]":
    """The program at work in ``folder``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "okdbench", *words],
        cwd=folder,
        env={**ENVIRONMENT, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    STARTED.append(process)
    return process


def done(process: "subprocess.Popen[str]", status: int = 0) -> str:
    """What the program has printed, after it has ended with that status."""
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, out
    return out


def records(results: Path) -> list[Path]:
    """The records of runs that are done."""
    return list(results.glob("grid/*/record.json"))


def report(results: Path) -> str:
    """The report as CSV."""
    return done(okdbench("report", "grid.yaml", "--format", "csv", "--results", str(results), folder=results.parent))


def metrics(results: Path) -> dict[str, list[Any]]:
    """All numbers that a run has measured on its network, by the run's folder."""
    found = {}
    for path in results.glob("grid/*/metrics.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.parent.name] = [(line["epoch"], line["losses"], line["heads"]) for line in lines]
    return found


def descendants(process: int) -> dict[int, str]:
    """A process and all that descend from it: their command lines by number."""
    lines = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = {}
    words = {}
    for line in lines.splitlines():
        number, parent, command = line.split(None, 2)
        children.setdefault(int(parent), []).append(int(number))
        words[int(number)] = command
    found, left = {}, [process]
    while left:
        each = left.pop()
        found[each] = words.get(each, "")
        left += children.get(each, [])
    return found

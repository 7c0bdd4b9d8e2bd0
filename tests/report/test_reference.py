"""Differences to a reference method, paired by seed, appear in every format."""

import json
from pathlib import Path

import fabricate

from okdbench.report import build, render


def test_paired_differences_are_shown(tmp_path: Path) -> None:
    grid = {"dataset": ["cifar10"], "network": ["resnet8"], "method": ["baseline", "dml"]}
    plan = fabricate.plan(tmp_path, grid=grid, table={"columns": "method", "reference": "baseline"})
    for cell, tops in zip(plan.cells, ([50.0, 51.0, 49.0], [50.5, 51.7, 49.3]), strict=True):
        for run, top1 in zip(cell.runs, tops, strict=True):
            fabricate.run(tmp_path, run.config, {"student": [top1, top1]})
    report = build(plan, tmp_path)
    cells = json.loads(render([report], "json"))["reports"][0]["cells"]
    assert cells[0]["paired_difference"] is None
    assert abs(cells[1]["paired_difference"] - 0.5) < 1e-9
    assert "vs Baseline" in render([report], "markdown")
    assert "+0.50" in render([report], "text")

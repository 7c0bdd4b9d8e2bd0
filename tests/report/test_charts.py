"""The figures that every table has: what they show, without a recipe's asking for it."""

import json
from pathlib import Path
from typing import Any

import fabricate
import pytest

from okdbench.report import build, figures
from okdbench.report.charts import Chart, Plot
from okdbench.report.svg import look_of
from okdbench.report.table import TableReport

REPORTED = {
    "cells": [
        {"dataset": "cifar100", "network": "resnet8", "method": "baseline", "mean": 70.0, "std": 0.5, "n": 3},
        {"dataset": "cifar100", "network": "resnet8", "method": "dkel", "mean": 70.0},
    ]
}


def measured(folder: Path, **changes: Any) -> TableReport:
    """Baseline ends at 70, 71 and 72, DKEL at 74, 75 and 76 on ResNet-8; DKEL's third run on ResNet-32 diverges."""
    plan = fabricate.plan(folder, **{"reported": REPORTED, **changes})
    for cell in plan.cells:
        for run in cell.runs:
            gone = (cell.network, cell.method, run.seed) == ("resnet32", "dkel", 2)
            end = (70.0 if cell.method == "baseline" else 74.0) + run.seed
            state, seconds = "diverged" if gone else "finished", 1.0 + run.seed
            fabricate.run(folder, run.config, {"student": [10.0, end]}, state, wall_seconds=seconds)
    return build(plan, folder)


def panels(chart: Chart) -> list[Plot]:
    return [plot for row in chart.rows for plot in row]


def test_every_table_has_all_figures_that_its_records_allow(tmp_path: Path) -> None:
    assert build(fabricate.plan(tmp_path, reported=REPORTED), tmp_path).charts() == {}
    found = measured(tmp_path).charts()
    assert list(found) == ["reported-measured", "forest", "learning-curves", "accuracy-cost", "collapse"]
    for name, chart in found.items():
        figures.draw(chart, tmp_path / f"{name}.svg")
        assert (tmp_path / f"{name}.svg").stat().st_size > 5_000


def test_learning_curves_have_a_panel_for_each_network_and_mark_the_drops_of_the_rate(tmp_path: Path) -> None:
    chart = measured(tmp_path).charts()["learning-curves"]
    small, large = panels(chart)
    assert (small.title, large.title, small.drops) == ("CIFAR-100, ResNet-8", "CIFAR-100, ResNet-32", (1.0,))
    assert [(each.name, each.y) for each in small.series] == [("Baseline", (10.0, 71.0)), ("DKEL", (10.0, 75.0))]
    assert small.series[0].low == (10.0, 70.0) and "Mean of n = 2 to 3 runs" in chart.note


def test_many_lines_are_divided_over_panels_that_share_the_first_one(tmp_path: Path) -> None:
    grid = {
        "dataset": ["cifar100"],
        "network": ["resnet8"],
        "method": ["dkel"],
        "dkel.alpha": [i / 10 for i in range(1, 13)],
    }
    table = {"rows": "dataset", "columns": "dkel.alpha"}
    chart = measured(tmp_path, grid=grid, table=table, reported=None).charts()["learning-curves"]
    names = [[series.name for series in plot.series] for plot in panels(chart)]
    assert [len(each) for each in names] == [7, 6] and names[0][0] == names[1][0] == "dkel.alpha = 0.1"
    assert len({name for each in names for name in each}) == 12 and all(plot.legend for plot in panels(chart))


def test_reported_and_measured_stand_against_each_other_with_the_interval(tmp_path: Path) -> None:
    [plot] = panels(measured(tmp_path).charts()["reported-measured"])
    baseline, dkel = plot.series
    assert plot.identity and plot.margin == 0.3
    assert (baseline.x, baseline.y, dkel.x, dkel.y) == ((70.0,), (71.0,), (70.0,), (75.0,))
    assert (baseline.low[0], baseline.high[0]) == (pytest.approx(68.516, abs=1e-3), pytest.approx(73.484, abs=1e-3))


def test_the_forest_has_the_interval_of_the_test_behind_each_verdict(tmp_path: Path) -> None:
    [plot] = panels(measured(tmp_path).charts()["forest"])
    assert plot.zero and plot.categories == ("Baseline", "DKEL") and plot.remarks == ("?", "↑")
    open_, higher = plot.series
    assert (open_.name, open_.y, higher.name, higher.y) == ("? inconclusive", (1.0,), "↑ higher", (5.0,))
    # Welch's interval of 1 with standard deviations 1 and 0.5 of three runs each: 2.94 degrees of freedom
    assert (open_.low[0], open_.high[0]) == (pytest.approx(-1.077, abs=1e-3), pytest.approx(3.077, abs=1e-3))
    # one-sample: 5 ± 4.3027 / sqrt(3)
    assert (higher.low[0], higher.high[0]) == (pytest.approx(2.516, abs=1e-3), pytest.approx(7.484, abs=1e-3))


def test_collapse_shows_only_cells_in_which_a_run_diverged(tmp_path: Path) -> None:
    chart = measured(tmp_path).charts()["collapse"]
    [plot] = panels(chart)
    assert plot.categories == ("ResNet-32, DKEL",) and plot.remarks == ("1 of 3",)
    assert plot.series[0].y == (pytest.approx(100 / 3),) and "In 3 other cells no run did." in chart.note


def test_accuracy_stands_over_arithmetic_and_over_the_hours_of_the_fastest_run(tmp_path: Path) -> None:
    chart = measured(tmp_path).charts()["accuracy-cost"]
    arithmetic, hours = chart.rows
    assert "Not counted" not in chart.note, "no method has a teacher that is trained first"
    baseline, dkel = arithmetic[0].series
    assert baseline.x == (1.0,) and dkel.x[0] > 2 and dkel.y == (75.0,)
    assert [series.x for series in hours[0].series] == [(pytest.approx(1 / 3600),)] * 2


def test_hours_of_different_devices_are_not_compared(tmp_path: Path) -> None:
    grid = {"dataset": ["cifar100"], "network": ["resnet8"], "method": ["baseline", "dkel"]}
    plan = fabricate.plan(tmp_path, grid=grid, reported=None)
    computed = {"backend": "eager", "precision": "float32", "algorithms": "fast", "device_name": "CPU"}
    for threads in (2, 1):
        for run in plan.runs:
            own = threads if run.config.method == "dkel" else 1
            folder = tmp_path / "small" / run.config.folder
            folder = folder if folder.exists() else fabricate.run(tmp_path, run.config, {"student": [50.0]})
            record = json.loads((folder / "record.json").read_text())
            record["environment"] |= {**computed, "threads": own}
            (folder / "record.json").write_text(json.dumps(record))
        chart = build(plan, tmp_path).charts()["accuracy-cost"]
        assert [len(plot.series) for plot in panels(chart)] == [2] * (3 - threads)
        said = "Hours on CPU, eager, float32, fast algorithms, 1 thread." if threads == 1 else "Hours are not drawn"
        assert said in chart.note


def test_lines_of_a_crowded_panel_all_look_different(tmp_path: Path) -> None:
    alphas = [index / 20 for index in range(1, 16)]
    grid = {"dataset": ["cifar100"], "network": ["resnet8"], "method": ["dkel"], "dkel.alpha": alphas}
    chart = measured(tmp_path, grid=grid, table={"rows": "dataset", "columns": "dkel.alpha"}, reported=None)
    plots = panels(chart.charts()["learning-curves"])
    assert [len(plot.series) for plot in plots] == [8, 8]
    for plot in plots:
        assert plot.series[0].name == plots[0].series[0].name
        assert len({look_of(series, ()) for series in plot.series}) == len({s.look for s in plot.series}) == 8


def test_that_a_teacher_is_trained_first_is_said_where_costs_are_drawn(tmp_path: Path) -> None:
    grid = {"dataset": ["cifar100"], "network": ["resnet8"], "method": ["baseline", "kd"]}
    teachers = {"kd": {"network": "resnet32", "method": "baseline", "seed": "same"}}
    chart = measured(tmp_path, grid=grid, teachers=teachers, reported=None).charts()["accuracy-cost"]
    assert "Not counted: training the teacher of KD." in chart.note


def test_bars_of_average_ranks_overlap_where_methods_are_not_told_apart(tmp_path: Path) -> None:
    grid = {"dataset": ["cifar100"], "network": ["resnet8"], "method": ["dkel"], "dkel.alpha": [0.1, 0.2, 0.3]}
    plan = fabricate.plan(tmp_path, grid=grid, table={"rows": "dataset", "columns": "dkel.alpha"})
    for index, cell in enumerate(plan.cells):
        for run in cell.runs:
            fabricate.run(tmp_path, run.config, {"student": [10.0 + 5 * index + run.seed]})
    [plot] = panels(build(plan, tmp_path).charts()["ranks"])
    [series] = plot.series
    assert plot.categories == ("DKEL, 0.3", "DKEL, 0.2", "DKEL, 0.1") and series.y == (1.0, 2.0, 3.0)
    # Nemenyi: 2.3437 * sqrt(3 * 4 / (6 * 3)), half to either side
    assert series.high[1] - series.low[1] == pytest.approx(1.9137, abs=1e-3)
    assert [series.high[0], series.low[2]] == pytest.approx([1 + 1.9137 / 2, 3 - 1.9137 / 2], abs=1e-3)
    assert (series.low[0], series.high[2]) == (1.0, 3.0), "no rank is better or worse"
    assert series.high[0] > series.low[1] and series.high[0] < series.low[2]

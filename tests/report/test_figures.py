"""Figures: what they show, and files that are the same for the same numbers."""

from pathlib import Path
from typing import Any

import fabricate
import pytest

from okdbench.errors import UsageError
from okdbench.files import write_json
from okdbench.kinds import AnyReport
from okdbench.plan import Plan, expand
from okdbench.recipe import load
from okdbench.report import build, figures, render
from okdbench.report.charts import Chart, Plot, Series
from okdbench.studies.simulation import perform

GRID = {"dataset": ["cifar10", "cifar100"], "network": ["resnet8"], "method": ["dkel"], "dkel.alpha": [0.1, 0.5]}
NAMES = {"cifar10": "CIFAR-10", "dkel": "DKEL", "dkel.alpha": "α"}


def make_plan(folder: Path, figure: dict[str, Any] | None, **changes: Any) -> Plan:
    table = {"rows": "dataset", "columns": "dkel.alpha", "names": NAMES}
    drawn = {"figure": figure} if figure else {}
    return fabricate.plan(folder, **{"grid": GRID, "table": table, **drawn, **changes})


def measured(folder: Path, figure: dict[str, Any] | None, runs: int = 3, **changes: Any) -> AnyReport:
    """A report whose cell c has the accuracies 10 and 20 + c + seed after two epochs, in the first ``runs`` seeds."""
    plan = make_plan(folder, figure, **changes)
    for index, cell in enumerate(plan.cells):
        for run in cell.runs[:runs]:
            fabricate.run(folder, run.config, {"student": [10.0, 20.0 + index + run.seed]})
    return build(plan, folder)


def plots(found: Chart | None) -> list[Plot]:
    assert found
    return [plot for row in found.rows for plot in row]


def test_nothing_is_drawn_where_nothing_is_asked_for_or_measured(tmp_path: Path) -> None:
    figure = {"x": "dkel.alpha", "panels": "dataset"}
    assert build(make_plan(tmp_path, figure), tmp_path).chart() is None
    assert measured(tmp_path, None).chart() is None


def test_numbers_over_an_axis_have_bars_and_the_papers_stand_beside_them(tmp_path: Path) -> None:
    cell = {"dataset": "cifar100", "network": "resnet8", "method": "dkel", "dkel.alpha": 0.5, "mean": 25.0}
    report = measured(tmp_path, {"x": "dkel.alpha", "lines": "dataset"}, reported={"cells": [cell]})
    (plot,) = plots(report.chart())
    assert (plot.x_label, plot.y_label, plot.categories) == ("α", "Top-1 accuracy (%)", ())
    assert plot.series == (
        Series("CIFAR-10", (0.1, 0.5), (21.0, 22.0), (20.0, 21.0), (22.0, 23.0)),
        Series("CIFAR-100", (0.1, 0.5), (23.0, 24.0), (22.0, 23.0), (24.0, 25.0)),
        Series("CIFAR-100", (0.5,), (25.0,), printed=True),
    )
    found = report.chart()
    assert found and found.note == (
        "Mean of n = 3 runs; bars: ± sample standard deviation. Test images; student, best epoch. "
        "Hollow: the paper's numbers."
    )


def test_curves_over_the_epochs_have_bands_and_differences_are_paired_by_seed(tmp_path: Path) -> None:
    report = measured(tmp_path, {"lines": "dkel.alpha", "panels": "dataset", "reference": 0.1})
    found = report.chart()
    assert found and [[plot.title for plot in row] for row in found.rows] == [["CIFAR-10", "CIFAR-100"], ["", ""]]
    level, apart = found.rows[0][0], found.rows[1][0]
    assert level.dense and level.x_label == "Epoch"
    assert level.series[1] == Series("0.5", (1.0, 2.0), (10.0, 22.0), (10.0, 21.0), (10.0, 23.0))
    assert apart.y_label == "Difference to 0.1 (points)"
    assert apart.series[1] == Series("0.5", (1.0, 2.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0)), "the seeds' spread cancels"


def test_a_single_run_has_no_band(tmp_path: Path) -> None:
    found = measured(tmp_path, {"lines": "dkel.alpha", "panels": "dataset"}, runs=1).chart()
    assert all(series.low == () for plot in plots(found) for series in plot.series)
    assert found and found.note.startswith("A single run each, so there are no bands.")


def collapse_report(folder: Path) -> AnyReport:
    protocol = {"default": {"head": "student", "epoch": "last", "statistic": "collapse-rate"}}
    grid = {"dataset": ["cifar10"], "network": ["resnet8"], "method": ["baseline", "dkel"]}
    plan = make_plan(
        folder, {"x": "method"}, grid=grid, protocol=protocol, table={"rows": "method", "columns": "dataset"}
    )
    for run in plan.runs:
        gone = run.config.method == "baseline" and run.seed < 2
        status = "diverged" if gone else "finished"
        fabricate.run(folder, run.config, {"student": [10.0]}, status, reason="collapsed: logits below 1e-3")
    return build(plan, folder)


def test_a_collapse_rate_is_a_point_with_its_interval(tmp_path: Path) -> None:
    report = collapse_report(tmp_path)
    (plot,) = plots(report.chart())
    assert (plot.categories, plot.y_label) == (("Baseline", "DKEL"), "Collapsed runs (%)")
    (series,) = plot.series
    assert series.y == (pytest.approx(200 / 3), 0.0)
    assert series.low == (pytest.approx(20.77, abs=0.01), 0.0) and series.high[1] == pytest.approx(56.15, abs=0.01)
    printed = render([report], "text")
    assert "66.7 [20.8–93.9] (2 of 3)" in printed and "0.0 [0.0–56.1] (0 of 3)" in printed
    assert "Collapse rate in percent [Wilson's 95% interval]" in printed and "±" not in printed


def simulated(folder: Path) -> Chart:
    recipe = "title: S\nkind: simulation\nreadings: {a: {trials: 50}, b: {trials: 50, gap: student}}\n"
    (folder / "s.yaml").write_text(recipe + "figure: {readings: [b, a]}\n")
    plan = expand(load(folder / "s.yaml"))
    for run in plan.runs:
        write_json(folder / "s" / run.config.folder / "record.json", perform(run.config, {}).model_dump(mode="json"))
    found = build(plan, folder).chart()
    assert found
    return found


def test_a_simulation_has_a_column_for_each_reading_with_bands(tmp_path: Path) -> None:
    found = simulated(tmp_path)
    gaps, apart = found.rows
    assert [plot.title for plot in gaps] == ["b\ngap=student, trials=50", "a\ntrials=50"]
    assert [series.name for series in gaps[0].series] == ["PCL", "DK", "DKEL"]
    for series in gaps[0].series:
        assert all(low < high for low, high in zip(series.low, series.high, strict=True))
    assert set(apart[0].series[0].y) == {0.0} and all(value < 0 for value in apart[0].series[1].y)
    assert "50 trials" in found.note and "bands" in found.note


@pytest.mark.parametrize("suffix", figures.FORMATS)
def test_the_same_numbers_give_the_same_file(suffix: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for file in files:
        figures.draw(simulated(tmp_path), file)
    first, second = (file.read_bytes() for file in files)
    assert first == second and len(first) > 10_000


def test_every_kind_of_panel_can_be_drawn(tmp_path: Path) -> None:
    cell = {"dataset": "cifar100", "network": "resnet8", "method": "dkel", "dkel.alpha": 0.5, "mean": 25.0}
    for name in ("axis", "epochs", "rate"):
        (tmp_path / name).mkdir()
    reports = [
        measured(tmp_path / "axis", {"x": "dkel.alpha", "panels": "dataset"}, reported={"cells": [cell]}),
        measured(tmp_path / "epochs", {"lines": "dkel.alpha", "panels": "dataset"}),
        collapse_report(tmp_path / "rate"),
    ]
    for index, report in enumerate(reports):
        found = report.chart()
        assert found
        figures.draw(found, tmp_path / f"{index}.svg")
        assert (tmp_path / f"{index}.svg").read_text().startswith("<?xml")


def test_what_cannot_be_drawn_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a.jpg: a figure's file ends in .svg, .png or .pdf"):
        figures.require_drawable(tmp_path / "a.jpg")


def test_bars_stand_over_an_axis_only(tmp_path: Path) -> None:
    report = measured(tmp_path, {"x": "dkel.alpha", "panels": "dataset", "bars": True})
    assert all(plot.bars for plot in plots(report.chart()))
    found = report.chart()
    assert found and "The axis does not start at 0." in found.note
    figures.draw(found, tmp_path / "bars.svg")
    with pytest.raises(UsageError, match="bars stand over an axis of the grid"):
        make_plan(tmp_path, {"lines": "dkel.alpha", "panels": "dataset", "bars": True})

import json
from dataclasses import replace
from pathlib import Path

import fabricate
import pytest

from okdbench.plan import Plan, Selection
from okdbench.report import build, render
from okdbench.report.grid import cell_by_cell, head_by_head, lay_out
from okdbench.report.legend import legend
from okdbench.report.model import Entry
from okdbench.report.table import TableReport


def entry(report: TableReport, panel: int, row: int, column: int) -> Entry:
    found = lay_out(report).panels[panel].rows[row][1][column]
    assert found is not None
    return found


def test_rows_columns_and_panels_are_the_papers(report: TableReport) -> None:
    grid = lay_out(report)
    assert grid.corner == "Network"
    assert grid.columns == ("Baseline", "PCL", "DKEL", "La_ter")
    assert [panel.title for panel in grid.panels] == ["C|10", "CIFAR-100"]
    assert [[name for name, _ in panel.rows] for panel in grid.panels] == [["ResNet-8", "ResNet-32"]] * 2


@pytest.mark.parametrize(
    ("place", "ours", "theirs", "mark", "note"),
    [
        ((0, 0, 0), "80.10 ± 0.10†", "80.00 ± 0.10°", "✓", ""),
        ((0, 0, 1), "88.50 ± 0.50†", "—", "", ""),
        ((0, 0, 2), "89.10 ± 0.10†", "90.00 ± 0.20", "↓", ""),
        ((0, 1, 0), "88.00 ± 2.00†", "85.00", "?", ""),
        ((1, 0, 0), "61.00 ± 0.10†", "60.00 ± 0.10", "↑", ""),
        ((1, 0, 2), "63.50 ± 0.71†", "—", "", "2/3, 1 diverged"),
        ((1, 0, 3), "—", "65.00", "", ""),
        ((1, 1, 0), "—", "—", "", ""),
    ],
)
def test_entries(
    report: TableReport, place: tuple[int, int, int], ours: str, theirs: str, mark: str, note: str
) -> None:
    found = entry(report, *place)
    assert (found.ours, found.theirs, found.mark, found.note) == (ours, theirs, mark, note)


def test_a_single_run_has_no_plus_minus(plan: Plan, tmp_path: Path) -> None:
    cell = replace(plan.cells[0], runs=plan.cells[0].runs[:1])
    single = build(replace(plan, cells=(cell,)), tmp_path)
    assert entry(single, 0, 0, 0).ours == "80.00†"
    assert any("n = 1" in line and "no ±" in line for line in legend(single))


def test_only_diverged_runs_leave_a_dash_and_say_so(tmp_path: Path) -> None:
    plan = fabricate.plan(
        tmp_path, grid={"dataset": ["cifar100"], "network": ["resnet8"], "method": ["baseline"]}, table={}
    )
    fabricate.run(tmp_path, plan.runs[0].config, {"student": [1.0]}, "diverged")
    report = build(plan, tmp_path)
    assert entry(report, 0, 0, 0).own == "— (1 diverged)"
    assert any(line.startswith("Diverged runs (1)") for line in legend(report))


def test_an_axis_of_settings_can_be_the_columns(tmp_path: Path) -> None:
    plan = fabricate.plan(
        tmp_path,
        grid={"dataset": ["cifar100"], "network": ["resnet8"], "method": ["baseline", "dkel"], "dkel.alpha": [0.1, 1]},
        table={"rows": "method", "columns": "dkel.alpha", "names": {"dkel.alpha": "α", "0.1": "one tenth"}},
    )
    grid = lay_out(build(plan, tmp_path))
    assert grid.columns == ("—", "one tenth", "1")
    rows = dict(grid.panels[0].rows)
    assert [cell is not None for cell in rows["Baseline"]] == [True, False, False]
    assert [cell is not None for cell in rows["DKEL"]] == [False, True, True]


def test_cell_by_cell_has_the_statistics_of_measured_cells(report: TableReport) -> None:
    listing = cell_by_cell(report)
    assert listing.headings == (
        *("Data set", "Network", "Method", "verdict", "n"),
        *("95% interval", "diff.", "p", "Holm p", "test", "needs n"),
    )
    assert len(listing.rows) == 6
    assert listing.rows[0] == (
        *("C|10", "ResNet-8", "Baseline", "reproduced", "3", "79.85–80.35"),
        *("+0.10", "0.288", "0.288", "Welch", "—"),
    )
    assert listing.rows[2][3:] == ("lower", "3", "88.85–89.35", "-0.90", "0.004", "0.012", "one-sample", "—")
    assert listing.rows[1][3:] == ("no reported number", "3", "87.26–89.74", *"—————")
    assert listing.rows[3][3:] == ("inconclusive", "3", "83.03–92.97", "+3.00", "0.122", "0.243", "one-sample", "6")


def test_cell_by_cell_leaves_out_columns_without_content(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path)
    assert cell_by_cell(build(plan, tmp_path)).rows == ()
    fabricate.run(tmp_path, plan.runs[0].config, {"student": [1.0, 2.0]})
    assert cell_by_cell(build(plan, tmp_path)).rows == ()
    fabricate.run(tmp_path, plan.runs[1].config, {"student": [1.0, 2.0]})
    listing = cell_by_cell(build(plan, tmp_path))
    assert listing.headings == ("Network", "Method", "n", "95% interval")
    assert listing.rows == (("ResNet-8", "Baseline", "2/3", "2.00–2.00"),)


def test_head_by_head_has_every_head_at_both_epochs(plan: Plan, tmp_path: Path) -> None:
    listing = head_by_head(build(plan, tmp_path, "all"))
    assert listing.headings == ("Data set", "Network", "Method", "Head", "n", "last epoch", "best epoch")
    assert ("C|10", "ResNet-8", "DKEL", "teacher0", "3", "89.10 ± 0.10", "99.00 ± 0.00") in listing.rows
    assert ("CIFAR-100", "ResNet-8", "DKEL", "teacher1", "2/3", "20.00 ± 0.00", "20.00 ± 0.00") in listing.rows


def test_the_legend_tells_what_a_reader_needs(report: TableReport) -> None:
    lines = legend(report)
    assert "Top-1 accuracy on the test set, in percent: ours, and below it the paper's number." in lines
    assert (
        "±: sample standard deviation (ddof 1) over n = 3 runs (seeds 0, 1, 2); k/n: only k of n runs are finished."
        in lines
    )
    assert "The paper's ± is as printed: n = 3 for 2 of 3 numbers, n not stated for 1 of 3 numbers." in lines
    assert "Protocol of Baseline, PCL and La_ter: student, best epoch († epoch chosen on the test set)." in lines
    assert "Protocol of DKEL: best teacher, last epoch († head chosen on the test set)." in lines
    marks = next(line for line in lines if line.startswith("Marks"))
    assert "✓ reproduced (within 0.3 points of the paper and p ≥ 0.05)" in marks
    assert "Welch" in marks
    assert "one-sample" in marks
    assert "Unavailable cells: 4 of 16; okdbench show says why." in lines
    assert "° the printed number is second-hand or doubtful: copied." in lines
    assert "— no finished run or no printed number." in lines
    assert lines[-1].startswith("Verdicts on 5 printed numbers: ")
    for verdict in ("1 reproduced", "1 higher", "1 lower", "1 inconclusive", "1 unavailable"):
        assert verdict in lines[-1]


def test_the_legend_tells_how_runs_were_computed(plan: Plan, tmp_path: Path) -> None:
    """Each run once, however many cells read it; records that do not tell are passed over."""
    assert not any(line.startswith("Computed") for line in legend(build(plan, tmp_path)))
    told = {"backend": "graph", "precision": "bfloat16", "algorithms": "deterministic"}
    for number, run in enumerate(plan.cells[0].runs):
        path = tmp_path / "small" / run.config.folder / "record.json"
        record = json.loads(path.read_text())
        where = {"device_name": "Machine A"} if number else {"device_name": "Machine B", "processes": 2}
        record["environment"] |= told | where
        path.write_text(json.dumps(record))
    how = "graph, bfloat16, deterministic algorithms"
    expected = f"Computed on: Machine A, {how} (2 runs); Machine B, {how}, 2 processes (1 run)."
    assert expected in legend(build(plan, tmp_path))
    assert expected in legend(build(plan, tmp_path, "all"))


def test_changed_settings_are_named(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path, Selection(settings={"training.epochs": 1, "data.subset": 400}))
    fabricate.run(tmp_path, plan.runs[0].config, {"student": [9.0]})
    report = build(plan, tmp_path)
    assert entry(report, 0, 0, 0).own == "9.00† (1/3) *"
    line = next(line for line in legend(report) if line.startswith("*"))
    assert "data.subset=400" in line
    assert "training.epochs=1" in line


def test_another_protocol_is_shown_and_not_compared(plan: Plan, tmp_path: Path) -> None:
    report = build(plan, tmp_path, "last")
    assert entry(report, 0, 0, 0).mark == ""
    assert entry(report, 0, 0, 0).theirs == "80.00 ± 0.10°"
    assert any("another protocol" in line for line in legend(report))


def test_error_tables_show_errors(tmp_path: Path) -> None:
    cells = [{"dataset": "cifar100", "network": "resnet8", "method": "baseline", "mean": 27.0}]
    plan = fabricate.plan(tmp_path, reported={"metric": "error", "cells": cells}, seeds=[0])
    for run in plan.runs[:2]:
        fabricate.run(tmp_path, run.config, {"student": [72.0, 71.0]})
    report = build(plan, tmp_path)
    assert entry(report, 0, 0, 0).ours == "28.00†"
    assert entry(report, 0, 0, 1).ours == "28.00†"  # the paper prints none here, but its table is of errors
    assert legend(report)[0].startswith("Top-1 error (100 − accuracy)")


def test_a_cell_in_another_metric_says_so(tmp_path: Path) -> None:
    where = {"dataset": "cifar100", "network": "resnet8"}
    cells = [
        {**where, "method": "baseline", "mean": 27.0},
        {**where, "method": "dkel", "mean": 75.0, "metric": "accuracy"},
    ]
    report = build(fabricate.plan(tmp_path, reported={"metric": "error", "cells": cells}), tmp_path)
    assert entry(report, 0, 0, 0).note == ""
    assert entry(report, 0, 0, 1).note == "accuracy"


def test_the_deployed_head_is_named_once_a_run_tells_it(plan: Plan, tmp_path: Path) -> None:
    lines = legend(build(plan, tmp_path, "best"))
    assert [line for line in lines if "DKEL" in line] == [
        "Protocol of DKEL: teacher0, best epoch († epoch chosen on the test set)."
    ]
    assert "Protocol of La_ter: the deployed head, best epoch († epoch chosen on the test set)." in lines


def test_what_is_not_reproduced_is_listed_with_its_verdict(report: TableReport) -> None:
    listed = {line for reproduced, line in report.checks() if not reproduced}
    assert listed == {
        "small: cifar10 / resnet8 / dkel: lower: ours 89.10 ± 0.10 (n = 3), paper 90.00 ± 0.20, difference -0.90, "
        "p 0.004 (one-sample)",
        "small: cifar10 / resnet32 / baseline: inconclusive, needs about n = 6 seeds: ours 88.00 ± 2.00 (n = 3), "
        "paper 85.00, difference +3.00, p 0.122 (one-sample)",
        "small: cifar100 / resnet8 / baseline: higher: ours 61.00 ± 0.10 (n = 3), paper 60.00 ± 0.10, "
        "difference +1.00, p <0.001 (Welch)",
        'small: cifar100 / resnet8 / later: unavailable (unknown method "later" (did you forget --plugin FILE.py?)): '
        "paper 65.00",
    }


def test_what_is_trained_on_another_network_is_marked_and_named(tmp_path: Path) -> None:
    plan = fabricate.plan(
        tmp_path,
        overrides=[{"when": {"network": "resnet32", "method": "dkel"}, "set": {"network": "resnet20"}}],
        table={"rows": "network", "columns": "method", "names": {"resnet32": "ResNet-32", "dkel": "DKEL"}},
        reported={"cells": [{"dataset": "cifar100", "network": "resnet32", "method": "dkel", "mean": 70.0}]},
    )
    line = "‡ trained as: resnet20 for ResNet-32 of DKEL."
    assert line in legend(build(plan, tmp_path)), "also where nothing is trained yet"
    for cell in plan.cells:
        for run in cell.runs:
            fabricate.run(tmp_path, run.config, {"student": [69.0, 70.0]})
    report = build(plan, tmp_path)
    assert line in legend(report)
    assert entry(report, 0, 1, 1).ours == "70.00 ± 0.00†‡"
    assert [entry(report, 0, row, column).ours for row, column in ((0, 0), (0, 1), (1, 0))] == ["70.00 ± 0.00†"] * 3
    rows = json.loads(render([report], "json"))["reports"][0]["cells"]
    assert [(row["network"], row["trained_network"]) for row in rows][-1] == ("resnet32", "resnet20")
    assert r"$^\dagger$$^\ddagger$" in render([report], "latex")


METHODS = ("baseline", "baseline@ema", "dml", "dml@ema", "dml@net2")


def test_names_of_labels_and_pairs_are_made_of_their_parts(tmp_path: Path) -> None:
    names = {"resnet8": "ResNet-8", "dml": "DML", "@ema": "+ EMA", "baseline@ema": "Averaged", "dml@net2": "Second"}
    plan = fabricate.plan(
        tmp_path,
        grid={
            "dataset": ["cifar100"],
            "network": ["resnet8", "resnet8+resnet20"],
            "method": [*METHODS, "layer-fusion@ema", "layer-fusion@logits"],
        },
        variants={"@ema": {}, "dml@net2": {}, "layer-fusion@logits": {"auxiliary": "logits"}},
        protocol={
            "default": {"head": "deployed", "epoch": "last"},
            "@ema": {"head": "deployed@ema", "epoch": "last"},
            "dml@net2": {"head": "peer1", "epoch": "last"},
        },
        table={"rows": "network", "columns": "method", "names": names},
    )
    report = build(plan, tmp_path)
    grid = lay_out(report)
    assert grid.columns[:5] == ("Baseline", "Averaged", "DML", "DML + EMA", "Second")
    assert grid.columns[5:] == ("Layer-fusion (reconstruction) + EMA", "Layer-fusion (reconstruction)@logits")
    assert [name for name, _ in grid.panels[0].rows] == ["ResNet-8", "ResNet-8 + ResNet-20"]
    averaged = (
        "Protocol of Averaged, DML + EMA and Layer-fusion (reconstruction) + EMA: the deployed head of the moving"
    )
    assert f"{averaged} average, last epoch." in legend(report)


def test_both_networks_of_a_pair_are_cells(tmp_path: Path) -> None:
    plan = fabricate.plan(
        tmp_path,
        grid={"dataset": ["cifar100"], "network": ["resnet8+resnet20"], "method": ["dml", "dml@net2"]},
        variants={"dml@net2": {}},
        protocol={"default": {"head": "deployed", "epoch": "last"}, "dml@net2": {"head": "peer1", "epoch": "last"}},
    )
    for run in plan.runs:
        fabricate.run(tmp_path, run.config, {"peer0": [1.0, 60.0], "peer1": [1.0, 70.0]}, deployed="peer0")
    report = build(plan, tmp_path)
    assert [entry(report, 0, 0, column).ours for column in (0, 1)] == ["60.00 ± 0.00", "70.00 ± 0.00"]

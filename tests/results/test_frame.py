import json
from pathlib import Path

import fabricate
import pytest

from okdbench.config import SimulationConfig, SimulationSettings
from okdbench.results.frame import COLUMNS, DamagedRun, frame
from okdbench.runs.folder import RunFolder
from okdbench.runs.probe import ProbeConfig


def test_one_row_per_run_head_and_epoch(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path)
    first, second = plan.runs[0].config, plan.runs[3].config
    fabricate.run(tmp_path, first, {"student": [50.0, 60.0]})
    fabricate.run(tmp_path, second, {"peer0": [51.0], "teacher0": [52.0]}, "interrupted")
    table = frame(tmp_path)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 4
    done = table[table["run"] == first.id]
    assert done["top1"].tolist() == [50.0, 60.0]
    assert done["epoch"].tolist() == [0, 1]
    assert set(done["status"]) == {"finished"}
    other = table[table["run"] == second.id].set_index("head")
    assert other["top1"].to_dict() == {"peer0": 51.0, "teacher0": 52.0}
    assert set(other["status"]) == {"interrupted"}
    assert set(table["recipe"]) == {"small"}
    assert table.loc[0, ["dataset", "network", "seed", "ece"]].tolist() == ["cifar100", "resnet8", 0, 2.5]


def test_probes_have_rows_of_their_own_kind(tmp_path: Path) -> None:
    training = fabricate.plan(tmp_path).runs[0].config
    fabricate.run(tmp_path, training, {"student": [50.0]})
    fabricate.run(tmp_path, ProbeConfig(dataset="stl10", source=training, seed=0), {"student": [70.0]})
    rows = frame(tmp_path).set_index("kind")
    assert rows["top1"].to_dict() == {"training": 50.0, "probe": 70.0}
    assert rows["dataset"].to_dict() == {"training": "cifar100", "probe": "stl10"}
    assert set(rows["network"]) == {"resnet8"}


def test_one_recipe_or_all(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path)
    folder = fabricate.run(tmp_path, plan.runs[0].config, {"student": [50.0, 60.0]})
    (tmp_path / "other").mkdir()
    folder.rename(tmp_path / "other" / folder.name)
    fabricate.run(tmp_path, plan.runs[1].config, {"student": [55.0, 65.0]})
    (tmp_path / "bench" / "cpu").mkdir(parents=True)
    assert frame(tmp_path, "small")["top1"].tolist() == [55.0, 65.0]
    assert frame(tmp_path)["recipe"].tolist() == ["other", "other", "small", "small"]


def test_without_runs_the_frame_is_empty(tmp_path: Path) -> None:
    for table in (frame(tmp_path), frame(tmp_path, "none"), frame(tmp_path / "absent")):
        assert tuple(table.columns) == COLUMNS
        assert table.empty


def test_further_metrics_become_further_columns(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path)
    folder = fabricate.run(tmp_path, plan.runs[0].config, {"student": [50.0]}, "interrupted")
    line = fabricate.line(0, {"student": 50.0})
    line["heads"]["student"]["entropy"] = 0.5
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    assert frame(tmp_path)["entropy"].tolist() == [0.5]


def test_a_damaged_run_is_named_and_left_out(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path)
    folder = fabricate.run(tmp_path, plan.runs[0].config, {"student": [50.0, 60.0]})
    fabricate.run(tmp_path, plan.runs[1].config, {"student": [55.0, 65.0]})
    (folder / "record.json").write_text("{")
    with pytest.warns(DamagedRun, match=f"{folder / 'record.json'}.*; delete it and run again"):
        assert frame(tmp_path)["top1"].tolist() == [55.0, 65.0]


def test_simulations_have_no_epochs_to_list(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path)
    fabricate.run(tmp_path, plan.runs[0].config, {"student": [50.0]})
    other = SimulationConfig(name="reading", reading=SimulationSettings())
    RunFolder(tmp_path / "small" / other.folder).write_config(other)
    assert len(frame(tmp_path)) == 1

import fcntl
import json
from pathlib import Path

import fabricate
import pytest

from okdbench.errors import UsageError
from okdbench.plan import Plan
from okdbench.runs.records import read_failure, read_metrics, read_record, read_run, state


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return fabricate.plan(tmp_path)


@pytest.fixture
def finished(plan: Plan, tmp_path: Path) -> Path:
    return fabricate.run(tmp_path, plan.runs[0].config, {"student": [50.0, 60.0]})


def test_state_comes_from_the_files(plan: Plan, tmp_path: Path) -> None:
    assert state(tmp_path / "nothing") == "pending"
    (tmp_path / "new").mkdir()
    assert state(tmp_path / "new") == "pending"
    first, second, third = (run.config for run in plan.runs[:3])
    interrupted = fabricate.run(tmp_path, first, {"student": [50.0]}, "interrupted")
    assert state(interrupted) == "interrupted"
    (interrupted / "failure.json").write_text('{"error": "out of memory"}')
    assert state(interrupted) == "failed"
    assert state(fabricate.run(tmp_path, second, {"student": [50.0, 60.0]})) == "finished"
    assert state(fabricate.run(tmp_path, third, {"student": [50.0]}, "diverged")) == "diverged"


def test_a_checkpoint_alone_is_an_interrupted_run(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-0000.pt").touch()
    assert state(tmp_path) == "interrupted"


def test_a_run_is_running_only_while_its_lock_is_held(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert state(tmp_path) == "running"
    assert state(tmp_path) == "pending"
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # looking has not kept the lock


def test_a_torn_last_line_is_left_out_wherever_it_is_torn(finished: Path) -> None:
    path = finished / "metrics.jsonl"
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    for end in range(start, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert [entry["epoch"] for entry in read_metrics(finished)] == [0], whole[start:end]
    path.write_bytes(whole.rstrip(b"\n"))
    assert len(read_metrics(finished)) == 2


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        (['{"epoch": 0, "he', 1], 1),
        ([0, "\x00\x00", 2], 2),
        ([0, 0], 2),
        ([0, 2], 2),
        ([1], 1),
        ([0, "{}"], 2),
        ([0, '{"epoch": 1, "heads": {"student": {"ce": 1.0}}}'], 2),
    ],
)
def test_other_damage_names_file_and_line(tmp_path: Path, lines: list[int | str], number: int) -> None:
    texts = [text if isinstance(text, str) else json.dumps(fabricate.line(text, {"student": 9.0})) for text in lines]
    (tmp_path / "metrics.jsonl").write_text("\n".join(texts) + "\n")
    with pytest.raises(UsageError, match=rf"metrics\.jsonl: line {number} .*--force"):
        read_metrics(tmp_path)


def test_a_run_without_metrics_has_none(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == ()


def test_a_finished_run_is_read_whole(finished: Path, plan: Plan) -> None:
    run = read_run(finished)
    assert run.state == "finished"
    assert run.config == plan.runs[0].config
    assert run.record is not None
    assert run.record.heads == ("student",)
    assert [entry["heads"]["student"]["top1"] for entry in run.metrics] == [50.0, 60.0]


def test_a_run_under_way_has_no_record(plan: Plan, tmp_path: Path) -> None:
    run = read_run(fabricate.run(tmp_path, plan.runs[0].config, {"student": [50.0]}, "interrupted"))
    assert (run.state, run.record, len(run.metrics)) == ("interrupted", None, 1)


@pytest.mark.parametrize("text", ['{"id": "1', "[]", "", '{"status": "done"}', "\udcff"])
def test_a_damaged_record_is_named(finished: Path, text: str) -> None:
    (finished / "record.json").write_text(text, errors="surrogateescape")
    for read in (read_record, read_run, state):
        with pytest.raises(UsageError, match=r"record\.json: damaged .*delete it and run again"):
            read(finished)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": None}, "heads"),
        ({"id": "000000000000"}, "000000000000"),
        ({"config": {"dataset": "cifar10"}}, r"config\.network"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(finished: Path, change: dict[str, object], message: str) -> None:
    path = finished / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UsageError, match=rf"record\.json: .*{message}.*run again"):
        read_run(finished)


def test_a_record_in_another_runs_folder_is_refused(finished: Path, plan: Plan) -> None:
    moved = finished.rename(finished.with_name(plan.runs[1].config.folder))
    with pytest.raises(UsageError, match=rf"record\.json: is the record of run {plan.runs[0].id}"):
        read_run(moved)


def test_a_finished_run_with_lost_epochs_is_refused(finished: Path) -> None:
    path = finished / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"metrics\.jsonl: 1 epochs, but the record says 2"):
        read_run(finished)


def test_a_damaged_configuration_is_named(plan: Plan, tmp_path: Path) -> None:
    folder = fabricate.run(tmp_path, plan.runs[0].config, {"student": [50.0]}, "interrupted")
    (folder / "config.json").write_text('{"dataset": "cifar100", "colour": 1}')
    with pytest.raises(UsageError, match=r"config\.json: not a valid configuration"):
        read_run(folder)


def test_failure(tmp_path: Path) -> None:
    assert read_failure(tmp_path) is None
    (tmp_path / "failure.json").write_text('{"error": "no space left", "time": 1.0}')
    assert read_failure(tmp_path) == "no space left"

"""A run's folder as readers find it, and what a real run writes into it."""

import json
import re
import shutil
from pathlib import Path

import fabricate
import pytest

from okdbench.config import (
    AverageSettings,
    CosineSchedule,
    DataSettings,
    OptimizerSettings,
    RunConfig,
    TrainingSettings,
)
from okdbench.errors import UsageError
from okdbench.plan import Plan
from okdbench.runs.folder import Exit, RunFolder
from okdbench.runs.lease import held
from okdbench.runs.records import Cause, Epoch, Failure, HeadMetrics, Record, Snapshot, State
from okdbench.worker import main

FIRST_VERSION = Path(__file__).parent / "first_version"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return fabricate.plan(tmp_path)


@pytest.fixture
def finished(plan: Plan, tmp_path: Path) -> RunFolder:
    return RunFolder(fabricate.run(tmp_path, plan.runs[0].config, {"student": [50.0, 60.0]}))


def test_state_comes_from_the_files(plan: Plan, tmp_path: Path) -> None:
    assert RunFolder(tmp_path / "nothing").state is State.pending
    (tmp_path / "new").mkdir()
    assert RunFolder(tmp_path / "new").state is State.pending
    first, second, third = (run.config for run in plan.runs[:3])
    interrupted = RunFolder(fabricate.run(tmp_path, first, {"student": [50.0]}, "interrupted"))
    assert interrupted.state is State.interrupted
    interrupted.write_failure("out of memory")
    assert interrupted.state is State.failed
    assert RunFolder(fabricate.run(tmp_path, second, {"student": [50.0, 60.0]})).state is State.finished
    assert RunFolder(fabricate.run(tmp_path, third, {"student": [50.0]}, "diverged")).state is State.diverged


def test_a_checkpoint_alone_is_an_interrupted_run(tmp_path: Path) -> None:
    RunFolder(tmp_path).checkpoint(0).touch()
    assert RunFolder(tmp_path).state is State.interrupted


def test_a_run_is_running_only_while_its_lease_is_held(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with held(tmp_path) as lease:
        assert lease and folder.state is State.running
    assert folder.state is State.pending


def test_a_torn_last_line_is_left_out_wherever_it_is_torn(finished: RunFolder) -> None:
    (finished.path / "record.json").unlink()
    path = finished.path / "metrics.jsonl"
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    for end in range(start, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert [epoch.epoch for epoch in finished.epochs] == [0], whole[start:end]
    path.write_bytes(whole.rstrip(b"\n"))
    assert len(finished.epochs) == 2


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
    with pytest.raises(UsageError, match=rf"metrics\.jsonl: line {number} .*--force$"):
        _ = RunFolder(tmp_path).epochs


def test_a_folder_without_files_is_empty(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert (folder.epochs, folder.record, folder.progress, folder.failure, folder.reason) == (
        (),
        None,
        None,
        None,
        None,
    )
    assert not folder.exists


def test_a_finished_run_is_read_whole(finished: RunFolder, plan: Plan) -> None:
    record = finished.record_of(Record)
    assert record and record == finished.record
    assert record.config == finished.config == plan.runs[0].config
    assert (record.status, record.heads) == (State.finished, ("student",))
    assert [epoch.heads["student"].top1 for epoch in finished.epochs] == [50.0, 60.0]


def test_a_record_alone_says_which_run_it_is(finished: RunFolder, plan: Plan) -> None:
    (finished.path / "config.json").unlink()
    assert finished.exists and finished.config == plan.runs[0].config


def test_a_run_under_way_has_no_record(plan: Plan, tmp_path: Path) -> None:
    folder = RunFolder(fabricate.run(tmp_path, plan.runs[0].config, {"student": [50.0]}, "interrupted"))
    assert (folder.state, folder.record, len(folder.epochs)) == (State.interrupted, None, 1)


@pytest.mark.parametrize("text", ['{"id": "1', "[]", "", '{"status": "done"}', "\udcff"])
@pytest.mark.parametrize("part", ["record", "epochs"])
def test_a_damaged_record_is_named(finished: RunFolder, text: str, part: str) -> None:
    (finished.path / "record.json").write_text(text, errors="surrogateescape")
    assert finished.state is State.damaged
    assert re.search(r"record\.json: damaged .*delete it and run again$", str(finished.reason))
    with pytest.raises(UsageError, match=r"record\.json: damaged .*delete it and run again$"):
        getattr(finished, part)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": None}, r"heads: .*run again"),
        ({"id": "000000000000"}, r"000000000000.*run again"),
        ({"config": {"dataset": "cifar10"}}, r"config\.network: .*run again"),
        ({"config": {"kind": "telepathy"}}, r'there is no kind "telepathy"'),
        ({"schema": 99}, r"schema 99, .*upgrade okdbench$"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(
    finished: RunFolder, change: dict[str, object], message: str
) -> None:
    path = finished.path / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UsageError, match=rf"record\.json: .*{message}") as refusal:
        _ = finished.record
    assert "\n" not in str(refusal.value)


def test_a_record_in_another_runs_folder_is_refused(finished: RunFolder, plan: Plan) -> None:
    moved = finished.path.rename(finished.path.with_name(plan.runs[1].config.folder))
    with pytest.raises(UsageError, match=rf"record\.json: is the record of run {plan.runs[0].id}"):
        _ = RunFolder(moved).record


def test_a_finished_run_with_lost_epochs_is_refused(finished: RunFolder) -> None:
    path = finished.path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"metrics\.jsonl: 1 epoch, but the record says 2"):
        _ = finished.epochs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"dataset": "cifar100", "colour": 1}', "not a valid configuration"),
        ("{", "damaged"),
        (None, "no such file"),
    ],
)
def test_a_damaged_configuration_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    if text:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match=rf"config\.json: {message}.*; delete the folder and run again$"):
        _ = RunFolder(tmp_path).config


def test_failure(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_failure("no space left")
    assert folder.failure and (folder.failure.error, folder.reason) == ("no space left", "no space left")
    (tmp_path / "failure.json").write_text('{"time": 1.0, "colour": 1}')
    assert folder.failure == Failure(error="unknown error", time=1.0)
    (tmp_path / "failure.json").write_text("{")
    assert folder.failure and re.search(r"failure\.json: damaged .*; delete it and run again$", folder.failure.error)
    folder.clear_failure()
    assert folder.failure is None


def test_progress_with_a_key_of_a_later_version_is_progress(tmp_path: Path) -> None:
    snapshot = Snapshot(
        epoch=1,
        epochs=3,
        step=2,
        steps=4,
        loss=float("nan"),
        head="student",
        accuracy=9.0,
        images_per_second=1.0,
        time=2.0,
    )
    assert snapshot.loss is None and snapshot.position == 1.5
    (tmp_path / "progress.json").write_text(json.dumps({**snapshot.model_dump(), "colour": 1}))
    assert RunFolder(tmp_path).progress == snapshot
    (tmp_path / "progress.json").write_text("{")
    assert RunFolder(tmp_path).progress is None


def test_published_records_of_the_first_version_are_read() -> None:
    [source] = FIRST_VERSION.iterdir()
    assert "schema" not in json.loads((source / "record.json").read_text())
    folder = RunFolder(source)
    record = folder.record_of(Record)
    assert record and (record.status, record.cause, record.epochs) == (State.finished, None, len(folder.epochs))
    assert isinstance(folder.epochs[0].heads[record.deployed], HeadMetrics)


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("collapsed: logits below 1e-3 at chance accuracy for 5 epochs", Cause.collapsed),
        ("loss not finite (ce) in epoch 3", Cause.not_finite),
    ],
)
def test_why_a_run_of_the_first_version_diverged(tmp_path: Path, reason: str, cause: Cause) -> None:
    [source] = FIRST_VERSION.iterdir()
    folder = RunFolder(shutil.copytree(source, tmp_path / source.name))
    path = folder.path / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "diverged", "reason": reason}))
    record = folder.record
    assert record and (record.status, record.cause, record.reason) == (State.diverged, cause, reason)


def test_what_a_run_writes_is_what_readers_read(tmp_path: Path) -> None:
    training = TrainingSettings(
        epochs=2,
        batch_size=20,
        optimizer=OptimizerSettings(lr=0.1),
        schedule=CosineSchedule(name="cosine"),
        ema=AverageSettings(),
    )
    images = DataSettings(subset=40, test_subset=20, validation=20)
    config = RunConfig(
        dataset="digits", network="resnet8", method="baseline", settings={}, training=training, data=images, seed=0
    )
    folder = RunFolder(tmp_path / "mine" / config.folder)
    folder.write_config(config)
    assert main([str(folder), "--data", str(tmp_path / "data"), "--threads=1"]) == Exit.done
    record, epochs, progress = folder.record_of(Record), folder.epochs, folder.progress
    assert folder.config == config and record and record.config == config
    assert (record.status, record.cause, record.epochs) == (State.finished, None, 2)
    assert (
        [tuple(each.heads) for each in epochs]
        == [record.heads] * 2
        == [tuple(each.validation or ()) for each in epochs]
    )
    assert progress and progress.accuracy == epochs[-1].heads[record.deployed].top1
    for name, model in (("record.json", Record), ("progress.json", Snapshot)):
        assert json.loads((folder.path / name).read_text()).keys() - {"schema"} == model.model_fields.keys()
    written = (folder.path / "metrics.jsonl").read_text()
    assert json.loads(written.splitlines()[0]).keys() == Epoch.model_fields.keys()
    folder.write_epochs(epochs)
    assert (folder.path / "metrics.jsonl").read_text() == written
    before = (folder.path / "record.json").read_text()
    folder.write_record(record)
    assert (folder.path / "record.json").read_text() == before

"""A run that was stopped anywhere and continued ends bit for bit like one that was not."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from endings import assert_same, lines
from patience import PATIENCE, wait_for

from okdbench.data import load_packed
from okdbench.runs.folder import Exit, RunFolder
from okdbench.training import Interrupted, checkpoint, loop


@pytest.mark.parametrize("method", ["baseline", "dml", pytest.param("dkel", marks=pytest.mark.slow)])
def test_interrupted_in_the_middle_of_an_epoch(method, small, trainer, tmp_path) -> None:
    config = small(method)
    trainer(config, tmp_path / "whole").train()
    for steps in (2, 3, 2):  # stop after this many steps: within epochs 0 and 1 (3 steps each), then at an epoch's end
        calls = iter([False] * (steps - 1) + [True] * 100)
        with pytest.raises(Interrupted):
            trainer(config, tmp_path / "stopped", stop=lambda calls=calls: next(calls)).train()
    trainer(config, tmp_path / "stopped").train()
    assert_same(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.slow
def test_class_aware_batches_and_meta_steps_continue(small, trainer, tmp_path) -> None:
    config = small("l-mcl", meta_every=2)  # a meta step after the first of an epoch's two steps
    shorter = {"epochs": 2, "batch_size": 16}
    images = {"subset": 40, "test_subset": 20}
    config = config.model_copy(
        update={
            "training": config.training.model_copy(update=shorter),
            "data": config.data.model_copy(update=images),
        }
    )
    trainer(config, tmp_path / "whole").train()
    calls = iter([True])
    with pytest.raises(Interrupted):
        trainer(config, tmp_path / "stopped", stop=lambda: next(calls)).train()
    trainer(config, tmp_path / "stopped").train()
    assert_same(tmp_path / "whole", tmp_path / "stopped")


def test_crash_between_the_journal_and_the_checkpoint(small, trainer, tmp_path, monkeypatch) -> None:
    config = small("pcl")
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    trainer(config, tmp_path / "whole").train()
    save, calls = checkpoint.save_checkpoint, []

    def crash_on_the_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:  # the first is before the first evaluation
            raise KeyboardInterrupt
        save(*arguments)

    monkeypatch.setattr(checkpoint, "save_checkpoint", crash_on_the_third)
    with pytest.raises(KeyboardInterrupt):
        trainer(config, tmp_path / "crashed").train()
    assert len(lines(tmp_path / "crashed")) == 2, "one epoch more in the journal than in the checkpoint"
    with (tmp_path / "crashed" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "torn')
    monkeypatch.setattr(checkpoint, "save_checkpoint", save)
    trainer(config, tmp_path / "crashed").train()
    assert_same(tmp_path / "whole", tmp_path / "crashed")


def test_checkpoints_are_written_by_time(small, trainer, tmp_path, monkeypatch) -> None:
    written = []
    monkeypatch.setattr(checkpoint, "save_checkpoint", lambda folder, number, state: written.append(number))
    trainer(small("baseline"), tmp_path / "seldom").train()
    assert written == [], "a run of seconds is over before one is due"
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    trainer(small("baseline"), tmp_path / "always").train()
    assert written == [3, 3, 6], "before the first evaluation, and after each epoch but the last, of three steps each"


def test_a_damaged_checkpoint_falls_back_to_the_one_before(small, trainer, tmp_path, monkeypatch) -> None:
    config = small("baseline")
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    trainer(config, tmp_path / "whole").train()
    calls = iter([False] * 7 + [True])  # two epochs of three steps and one step
    with pytest.raises(Interrupted):
        trainer(config, tmp_path / "stopped", stop=lambda: next(calls)).train()
    kept = RunFolder(tmp_path / "stopped").checkpoints
    assert len(kept) == 2
    kept[-1].write_bytes(kept[-1].read_bytes()[:1000])
    trainer(config, tmp_path / "stopped").train()
    assert_same(tmp_path / "whole", tmp_path / "stopped")


def worker(folder: Path, data: Path) -> list[str]:
    options = ["--data", str(data), "--device", "cpu", "--threads", "1"]
    return [sys.executable, "-m", "okdbench.worker", str(folder), *options]


@pytest.mark.slow
def test_killed_epochs_after_the_last_checkpoint_it_ends_in_the_same_record(small, data_root, tmp_path) -> None:
    config = small("dkel")
    config = config.model_copy(update={"training": config.training.model_copy(update={"epochs": 8})})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        (folder / "config.json").write_text(config.model_dump_json())
    assert subprocess.run(worker(whole, data_root), timeout=PATIENCE).returncode == 0

    process = subprocess.Popen(worker(killed, data_root))
    wait_for(lambda: len(RunFolder(killed).epochs) >= 1, process)
    process.terminate()
    assert process.wait() == Exit.interrupted and RunFolder(killed).checkpoints
    done = len(lines(killed))
    process = subprocess.Popen(worker(killed, data_root))
    wait_for(lambda: len(RunFolder(killed).epochs) >= done + 2, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert len(RunFolder(killed).checkpoints) == 1, "no checkpoint in between"
    assert not (killed / "record.json").exists()

    assert subprocess.run(worker(killed, data_root), timeout=PATIENCE).returncode == 0
    assert_same(whole, killed)


def test_killed_before_its_first_checkpoint_it_starts_again(small, trainer, tmp_path) -> None:
    config = small("baseline")
    trainer(config, tmp_path / "whole").train()

    def killed() -> bool:
        if len(RunFolder(tmp_path / "killed").epochs) == 2:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        trainer(config, tmp_path / "killed", stop=killed).train()
    assert not RunFolder(tmp_path / "killed").checkpoints and len(lines(tmp_path / "killed")) == 2
    trainer(config, tmp_path / "killed").train()
    assert_same(tmp_path / "whole", tmp_path / "killed")


def test_a_record_says_where_else_a_run_was_computed(small, trainer, tmp_path, monkeypatch) -> None:
    config, machine = small("baseline"), loop.environment
    folder = tmp_path / config.folder
    for name in ("Abacus", "Slide rule", "Abacus"):
        monkeypatch.setattr(loop, "environment", lambda device, name=name: {**machine(device), "device_name": name})
        with pytest.raises(Interrupted):
            trainer(config, folder, stop=lambda: True).train()
    trainer(config, folder).train()
    record = RunFolder(folder).record
    assert record.environment["device_name"] == "Abacus"
    assert record.environment["earlier"] == [{"device_name": "Slide rule"}]
    first, then, last = record.compute_summary.partition(", then ")
    assert (first.split(",")[0], then, last) == ("Slide rule", ", then ", first.replace("Slide rule", "Abacus"))


def test_a_record_of_one_machine_names_no_other(small, trainer, tmp_path) -> None:
    config = small("baseline")
    with pytest.raises(Interrupted):
        trainer(config, tmp_path / config.folder, stop=lambda: True).train()
    trainer(config, tmp_path / config.folder).train()
    environment = RunFolder(tmp_path / config.folder).record.environment
    assert "earlier" not in environment
    assert environment["images_sha256"] == load_packed(config.dataset, tmp_path).sha256()

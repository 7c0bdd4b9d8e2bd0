"""Files of a run that were damaged: the run ends as if they were not, or says in one line what to do."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from endings import assert_same

from okdbench.config import RunConfig
from okdbench.errors import UsageError
from okdbench.runs.folder import RunFolder
from okdbench.runs.records import State
from okdbench.runs.weights import has_final_weights
from okdbench.training import Interrupted, checkpoint


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole run and a run stopped after 7 of 9 steps, with two checkpoints (after 6 and 7)."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def runs(made: Path, small, trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RunConfig, Path, Path]:
    config = small("baseline")
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    if not (made / "stopped").exists():
        trainer(config, made / "whole").train()
        calls = iter([False] * 6 + [True])
        with pytest.raises(Interrupted):
            trainer(config, made / "stopped", stop=lambda: next(calls)).train()
        assert len(RunFolder(made / "stopped").checkpoints) == 2
    return config, made / "whole", Path(shutil.copytree(made / "stopped", tmp_path / "stopped"))


def flip(path: Path, place: float) -> None:
    """Change one bit, at this part of the file's length."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(content)


def other_torch_file(path: Path) -> None:
    torch.save({"epoch": 1}, path)


def of_another_run(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    torch.save({**state, "run": "0123456789ab"}, path)


def of_another_network(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    method = {f"other.{name}": value for name, value in state["step"]["method"].items()}
    torch.save({**state, "step": {**state["step"], "method": method}}, path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "bit flipped": lambda path: flip(path, 0.5),
    "text": lambda path: path.write_text("a text file"),
    "empty": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "pickle damaged": lambda path: path.write_bytes(path.read_bytes().replace(b"epoch", b"eposh")),
    "other torch file": other_torch_file,
    "other run": of_another_run,
    "other network": of_another_network,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_older_checkpoint_is_used_and_a_line_says_so(damage: str, runs, trainer, capsys) -> None:
    config, whole, stopped = runs
    DAMAGE[damage](RunFolder(stopped).checkpoints[-1])
    trainer(config, stopped).train()
    assert "not used (" in capsys.readouterr().out.splitlines()[0]
    assert_same(whole, stopped)


def test_with_both_damaged_training_starts_again_and_says_so(runs, trainer, capsys) -> None:
    config, whole, stopped = runs
    older, newer = RunFolder(stopped).checkpoints
    of_another_network(newer)
    flip(older, 0.4)
    trainer(config, stopped).train()
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 3 and out[2] == "no checkpoint can be used: training starts again"
    assert_same(whole, stopped)


def test_no_flipped_bit_is_accepted_unless_it_changes_nothing(runs) -> None:
    config, _, stopped = runs
    folder = RunFolder(stopped)
    [older, newer] = folder.checkpoints
    older.unlink()
    intact = next(checkpoint.readable(folder, config.id))
    content, accepted = newer.read_bytes(), 0
    for place in range(7, len(content), len(content) // 200):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        newer.write_bytes(damaged)
        for state in checkpoint.readable(folder, config.id):
            accepted += 1
            for name, value in intact["step"]["method"].items():
                assert torch.equal(state["step"]["method"][name], value), (place, name)
    assert accepted < 20, "bits of padding and of times are not checked, and do no harm"


@pytest.mark.parametrize(
    "content", ["", '{"epoch": 0, "he', "\x00" * 100, None], ids=["empty", "torn", "zeros", "gone"]
)
def test_metrics_are_repaired_from_the_checkpoint(content: str | None, runs, trainer, capsys) -> None:
    config, whole, stopped = runs
    path = stopped / "metrics.jsonl"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    trainer(config, stopped).train()
    assert "metrics.jsonl: damaged; written again with 2 epochs" in capsys.readouterr().out
    assert_same(whole, stopped)


def test_damaged_metrics_without_a_checkpoint_start_again(runs, trainer) -> None:
    config, whole, stopped = runs
    for path in RunFolder(stopped).checkpoints:
        path.unlink()
    (stopped / "metrics.jsonl").write_text("nonsense\nnonsense\n")
    trainer(config, stopped).train()
    assert_same(whole, stopped)


def test_metrics_that_are_cut_while_the_run_trains_are_whole_at_its_end(runs, trainer, capsys) -> None:
    config, whole, stopped = runs

    def cut() -> bool:
        (stopped / "metrics.jsonl").write_text("")
        return False

    trainer(config, stopped, stop=cut).train()
    assert "written again with" in capsys.readouterr().out
    assert_same(whole, stopped)
    assert RunFolder(stopped.rename(stopped.with_name(f"run.{config.id}"))).state is State.finished


@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_a_folder_that_goes_away_while_its_run_trains_is_not_made_anew(how: str, runs, trainer) -> None:
    config, _, stopped = runs

    def go() -> bool:
        if stopped.exists():
            shutil.rmtree(stopped) if how == "deleted" else stopped.rename(stopped.with_name("elsewhere"))
        return False

    with pytest.raises(UsageError, match="was moved or deleted while the run was trained"):
        trainer(config, stopped, stop=go).train()
    assert not stopped.exists()


def test_metrics_of_another_run_are_not_this_ones(runs, tmp_path: Path) -> None:
    config, whole, _ = runs
    copy = RunFolder(Path(shutil.copytree(whole, tmp_path / f"run.{config.id}")))
    assert copy.state is State.finished
    path = copy.path / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[-1]["heads"]["student"]["top1"] = 12.5
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert copy.state is State.damaged and "not the metrics that this run has written" in str(copy.reason)
    with pytest.raises(UsageError, match="--force"):
        _ = copy.epochs


def test_weights_are_compared_with_the_hash_in_the_record(runs, tmp_path: Path) -> None:
    config, whole, _ = runs
    folder = RunFolder(Path(shutil.copytree(whole, tmp_path / f"run.{config.id}")))
    assert has_final_weights(folder)
    state = torch.load(folder.weights, weights_only=True)
    torch.save({name: torch.zeros_like(value) for name, value in state.items()}, folder.weights)
    assert not has_final_weights(folder), "another torch file with intact checksums"
    shutil.copy(whole / "weights.pt", folder.weights)
    for place in (0.3, 0.5, 0.7):  # one may be padding
        flip(folder.weights, place)
    assert not has_final_weights(folder)


@pytest.mark.parametrize("value", ["NaN", "999", "-1", '"x"', '"50"', "null", "true", "[]", "Infinity"])
def test_an_accuracy_is_a_percentage(value: str, runs) -> None:
    _, _, stopped = runs
    path = stopped / "metrics.jsonl"
    first, second = path.read_text().splitlines()
    before = json.dumps(json.loads(first)["heads"]["student"]["top1"])
    path.write_text(first.replace(f'"top1": {before}', f'"top1": {value}', 1) + "\n" + second + "\n")
    with pytest.raises(UsageError, match=r"metrics\.jsonl: line 1 is not the metrics of epoch 0"):
        _ = RunFolder(stopped).epochs


def test_a_checkpoint_is_written_before_the_first_evaluation(runs, trainer, tmp_path: Path) -> None:
    config, whole, _ = runs
    first = trainer(config, tmp_path / "first")

    def fail(_: str) -> None:
        raise UsageError("a file that cannot be read")

    first._evaluate = fail
    with pytest.raises(UsageError, match="cannot be read"):
        first.train()
    [saved] = RunFolder(tmp_path / "first").checkpoints
    assert torch.load(saved, weights_only=True)["epoch"] == 0
    trainer(config, tmp_path / "first").train()
    assert_same(whole, tmp_path / "first")


def test_what_killed_workers_were_writing_is_removed(runs, tmp_path: Path) -> None:
    from okdbench.worker import main

    config, _, stopped = runs
    (stopped / "config.json").write_text(config.model_dump_json())
    for name in ("checkpoint-000000003.pt", "weights.pt", "record.json", "metrics.jsonl", "progress.json"):
        (stopped / f".{name}.4242.tmp").write_text("half of")
    assert main([str(stopped), "--data", str(tmp_path / "data"), "--threads=1"]) == 0
    assert not [path.name for path in itertools.chain(stopped.glob(".*"), stopped.glob("attempt.json"))]


def test_threads_are_those_of_the_first_attempt(tmp_path: Path) -> None:
    from okdbench.kinds.training import _first_threads
    from okdbench.training.distributed import ALONE

    folder = RunFolder(tmp_path)
    assert [_first_threads(folder, wanted, ALONE) for wanted in (1, 2, 0)] == [1, 1, 1]
    folder.clear_unfinished()
    assert _first_threads(folder, 2, ALONE) == 2

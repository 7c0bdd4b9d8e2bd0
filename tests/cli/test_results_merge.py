import shutil
from pathlib import Path

import fabricate
import pytest
from commandline import Command

from okdbench.plan import Run


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Run, ...]:
    return fabricate.plan(tmp_path).runs


def test_runs_of_two_machines_come_together(runs: tuple[Run, ...], okdbench: Command) -> None:
    here, there, third = (
        fabricate.run(Path(n), run.config, {"student": [1.0, 2.0]}) for n, run in zip("abc", runs, strict=False)
    )
    (there / "weights.pt").write_bytes(b"weights")
    fabricate.run(Path("b"), runs[3].config, {"student": [1.0]}, status="interrupted")
    trial = okdbench("results", "merge", "b", "c", "--results", "a", "--dry-run")
    assert trial.status == 0 and "2 runs to copy" in trial.out
    assert [path.name for path in Path("a/small").iterdir()] == [here.name]
    done = okdbench("results", "merge", "b", "c", "--results", "a")
    assert (done.status, done.err) == (0, "")
    assert "a: 2 runs copied, 1 run not finished, left out" in done.out
    assert f"{Path('b/small', runs[3].config.folder)}: interrupted" in done.out
    assert {path.name for path in Path("a/small").iterdir()} == {here.name, there.name, third.name}
    assert Path("a/small", there.name, "weights.pt").read_bytes() == b"weights"
    assert "2 runs here already, the same" in okdbench("results", "merge", "b", "c", "--results", "a").out


def test_one_run_with_two_results_is_refused_and_both_are_named(runs: tuple[Run, ...], okdbench: Command) -> None:
    ours = fabricate.run(Path("a"), runs[0].config, {"student": [1.0, 2.0]})
    theirs = fabricate.run(Path("b"), runs[0].config, {"student": [1.0, 2.5]})
    before = (ours / "metrics.jsonl").read_text()
    done = okdbench("results", "merge", "b", "--results", "a")
    assert done.status == 1
    assert f"{ours} and {theirs} are the same run with different results" in done.out
    assert (ours / "metrics.jsonl").read_text() == before


def test_a_run_trained_again_is_the_same_whatever_its_times(runs: tuple[Run, ...], okdbench: Command) -> None:
    fabricate.run(Path("a"), runs[0].config, {"student": [1.0, 2.0]})
    again = fabricate.run(Path("b"), runs[0].config, {"student": [1.0, 2.0]}, wall_seconds=9.0, images_per_second=7.0)
    metrics = again / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"seconds": 1.0', '"seconds": 4.5'))
    done = okdbench("results", "merge", "b", "--results", "a")
    assert (done.status, done.out) == (0, "a: 1 run here already, the same\n")


def test_damaged_records_are_named_and_the_others_copied(runs: tuple[Run, ...], okdbench: Command) -> None:
    bad, good = (fabricate.run(Path("b"), run.config, {"student": [1.0, 2.0]}) for run in runs[:2])
    (bad / "metrics.jsonl").write_text("")
    moved = Path("b/small/elsewhere.000000000000")
    shutil.copytree(good, moved)
    done = okdbench("results", "merge", "b", "--results", "a")
    assert done.status == 1
    assert f"{bad / 'metrics.jsonl'}: 0 epochs, but the record says 2" in done.out
    assert f"{moved / 'record.json'}: is the record of run {runs[1].id}, not of this folder" in done.out
    assert [path.name for path in Path("a/small").iterdir()] == [good.name]


def test_wrong_folders_are_refused(runs: tuple[Run, ...], okdbench: Command) -> None:
    fabricate.run(Path("a"), runs[0].config, {"student": [1.0, 2.0]})
    assert "has no runs as DIR/RECIPE/RUN" in okdbench("results", "merge", "none", "--results", "a").err
    assert "is the results folder itself" in okdbench("results", "merge", "a", "--results", "a").err

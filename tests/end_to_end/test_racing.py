"""Several okdbench commands on one results folder: each run is trained once, nothing is lost, all end well."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from commandline import TINY
from endings import assert_same
from patience import PATIENCE, wait_for

from okdbench.files import read_json
from okdbench.runs.find import runs_below
from okdbench.runs.folder import RunFolder
from okdbench.runs.records import State

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
QUICK = ("--epochs", "2")
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts ``okdbench WORDS...`` in a folder of the test's own, and leaves nothing behind."""
    started = []

    def begin(*words: str, results: str = "results") -> subprocess.Popen[str]:
        places = {"OKDBENCH_RESULTS": str(tmp_path / results), "OKDBENCH_DATA": str(tmp_path / "data")}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **places}
        command = [sys.executable, "-m", "okdbench", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen(command, env=environment, cwd=tmp_path, start_new_session=True, **pipes))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        process.stdout.close()


def ends_well(process: subprocess.Popen[str]) -> str:
    """What a command has printed; it must have succeeded."""
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out
    return out


def trained(folder: RunFolder) -> int:
    """How many workers have begun to train the run here; each says in the log how it computes."""
    return folder.log.read_text().count("deterministic algorithms") if folder.log.exists() else 0


def folders(results: Path) -> list[RunFolder]:
    return list(runs_below(results))


def test_two_commands_train_each_run_once(start: Start, tmp_path: Path) -> None:
    words = ("run", str(TINY), "-m", "baseline", "-m", "dml", *QUICK)
    outs = [ends_well(each) for each in (start(*words), start(*words))]
    assert all("4 runs: 4 finished" in out for out in outs)
    assert any("another okdbench process trains it" in out for out in outs)
    runs = folders(tmp_path / "results")
    assert [(run.state, trained(run)) for run in runs] == [(State.finished, 1)] * 4


def test_one_is_killed_and_the_other_takes_its_runs_over(start: Start, tmp_path: Path) -> None:
    words = ("run", str(TINY), "-m", "baseline", "-s", "0", "--epochs", "40")
    ends_well(start(*words, results="undisturbed"))
    [whole] = folders(tmp_path / "undisturbed")
    first = start(*words)
    wait_for(lambda: [run for run in folders(tmp_path / "results") if run.epochs_done])
    [run] = folders(tmp_path / "results")
    second = start(*words)
    wait_for(lambda: "waiting for that one" in (second.stdout.readline() if second.stdout else ""))
    worker = int(run.path.joinpath("lease.1").read_text().partition('"pid":')[2].partition(",")[0])
    os.killpg(first.pid, signal.SIGKILL)
    os.killpg(worker, signal.SIGKILL)
    assert "1 run: 1 finished" in ends_well(second)
    assert trained(run) == 2
    assert_same(whole.path, run.path)


@pytest.mark.parametrize("force", [(), ("--force",)], ids=["run", "force"])
def test_a_command_is_killed_and_its_worker_goes_on(force: tuple[str, ...], start: Start, tmp_path: Path) -> None:
    words = ("run", str(TINY), "-m", "baseline", "-s", "0", "--epochs", "40")
    ends_well(start(*words, results="undisturbed"))
    [whole] = folders(tmp_path / "undisturbed")
    if force:
        shutil.copytree(tmp_path / "undisturbed", tmp_path / "results")
    killed = start(*words, *force)
    wait_for(lambda: [run for run in folders(tmp_path / "results") if run.epochs_done and not run.state.done])
    killed.kill()
    assert "1 run: 1 finished" in ends_well(start(*words, *force))
    [run] = folders(tmp_path / "results")
    assert trained(run) == 1
    assert_same(whole.path, run.path)


def test_two_recipes_train_the_runs_that_they_share_once(start: Start, tmp_path: Path) -> None:
    content = yaml.safe_load(TINY.read_text())
    content["table"] = {}
    for name, methods in (("one", ["baseline", "dml"]), ("two", ["dml", "baseline", "one"])):
        content["grid"]["method"], content["seeds"] = methods, [0]
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    outs = [ends_well(each) for each in (start("run", "one.yaml", *QUICK), start("run", "two.yaml", *QUICK))]
    assert "2 runs: 2 finished" in outs[0] and "3 runs: 3 finished" in outs[1]
    runs = folders(tmp_path / "results")
    assert {run.state for run in runs} == {State.finished}
    together: dict[str, int] = {}
    for run in runs:
        together[run.path.name] = together.get(run.path.name, 0) + trained(run)
    assert list(together.values()) == [1, 1, 1]


def test_four_that_train_again_at_once(start: Start, tmp_path: Path) -> None:
    words = ("run", str(TINY), "-m", "baseline", "-s", "0", *QUICK)
    ends_well(start(*words))
    outs = [ends_well(each) for each in [start(*words, "--force") for _ in range(4)]]
    assert all("1 run: 1 finished" in out for out in outs)
    [run] = folders(tmp_path / "results")
    assert run.state is State.finished
    replaced = [RunFolder(path) for path in (tmp_path / "results" / "tiny" / "replaced").iterdir()]
    assert {read_json(each.path / "record.json")["status"] for each in replaced} == {"finished"} and len(replaced) <= 4
    assert [trained(each) for each in (run, *replaced)] == [1] * (len(replaced) + 1)


def test_jobs_continue_with_the_threads_they_began_with(start: Start, tmp_path: Path) -> None:
    words = ("run", str(TINY), "-m", "baseline", "--jobs", "2", "--epochs", "30")
    ends_well(start(*words, results="undisturbed"))
    killed = start(*words)
    wait_for(lambda: [run for run in folders(tmp_path / "results") if run.state.done] or killed.poll() is not None)
    os.killpg(killed.pid, signal.SIGKILL)
    for run in folders(tmp_path / "results"):
        if holder := run.holder:
            assert holder.host
            [lease] = run.path.glob("lease.*")
            os.killpg(int(lease.read_text().partition('"pid":')[2].partition(",")[0]), signal.SIGKILL)
    assert "2 runs: 2 finished" in ends_well(start(*words))
    for whole, run in zip(folders(tmp_path / "undisturbed"), folders(tmp_path / "results"), strict=True):
        assert_same(whole.path, run.path)

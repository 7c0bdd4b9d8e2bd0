"""Curves in the stores of other tools: whole, without gaps or doubles, and never at the expense of a training."""

import sys
from pathlib import Path
from typing import Any

import fabricate
import pytest
from commandline import Command
from pages import ROOT, commands, files

from okdbench.plan import Selection, expand
from okdbench.recipe import load
from okdbench.runs.folder import METRICS, RunFolder
from okdbench.runs.records import Epoch
from okdbench.tracking import base, open_trackers
from okdbench.tracking.base import Follower, RunCurves, described

Points = dict[str, list[tuple[int, float]]]
PAGE = (ROOT / "docs" / "track-runs.md").read_text()
TOP1 = {"student": (10.0, 20.0, 30.0), "peer0": (11.0, 21.0, 31.0)}


def event_files(folder: Path) -> Points:
    """All points of TensorBoard's files in a folder, in the order in which they were written."""
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    found: Points = {}
    for file in folder.glob("*tfevents*"):
        for event in loader.RawEventFileLoader(str(file)).Load():
            parsed = loader.event_pb2.Event.FromString(event)
            for value in parsed.summary.value:
                found.setdefault(value.tag, []).append((parsed.step, value.simple_value))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A finished run of three epochs and two heads."""
    config = fabricate.plan(tmp_path).runs[0].config
    return RunFolder(fabricate.run(tmp_path / "results", config, TOP1))


def steps(epochs: list[Epoch], curve: list[tuple[int, float]], head: str = "student") -> None:
    assert curve == [(each.epoch + 1, pytest.approx(each.heads[head].top1)) for each in epochs]


def test_records_become_event_files(okdbench: Command, folder: RunFolder, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    status, out, err = okdbench("track", "small.yaml", "--to", "tensorboard:logs", "-n", "resnet8", "-m", "baseline")
    assert (status, err.strip()) == (0, "")
    assert out.splitlines() == ["1 run of 3 written, 3 epochs", "see: tensorboard --logdir logs"]
    found = event_files(tmp_path / "logs" / "small" / folder.path.name)
    for head, curve in TOP1.items():
        assert found[f"top1/{head}"] == list(enumerate(curve, 1))
        assert found[f"ce/{head}"] == [(1, 1.5), (2, 1.5), (3, 1.5)]
    assert found["training/learning_rate"][0] == (1, pytest.approx(0.1))
    assert found["training/images_per_second"][2] == (3, 9.0)
    assert found["training/loss"] == found["loss/ce"] == [(1, 2.0), (2, 2.0), (3, 2.0)]


@pytest.mark.slow
def test_records_become_runs_of_mlflow(okdbench: Command, folder: RunFolder, tmp_path: Path) -> None:
    mlflow, _ = pytest.importorskip("mlflow"), pytest.importorskip("sqlalchemy")
    place = f"sqlite:///{tmp_path}/curves.db"
    for _ in range(2):  # the second time replaces the first
        assert okdbench("track", "small.yaml", "--to", f"mlflow:{place}", "-m", "baseline").status == 0
    client = mlflow.MlflowClient(place)
    [run] = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    assert (run.info.run_name, run.info.status) == (folder.path.name, "FINISHED")
    assert run.data.params["training.optimizer.lr"] == "0.1" and run.data.tags["okdbench.run"] == folder.config.id
    history = client.get_metric_history(run.info.run_id, "top1/peer0")
    assert [(each.step, each.value) for each in history] == list(enumerate(TOP1["peer0"], 1))


def test_a_continued_run_has_one_curve(folder: RunFolder, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    epochs, place = list(folder.epochs), tmp_path / "logs"
    for part in (2, 3):  # two sessions
        [tracker] = open_trackers([f"tensorboard:{place}"]).values()
        RunCurves(tracker, described(folder)).bring(epochs[:part], 1e9)
    steps(epochs, event_files(place / "small" / folder.path.name)["top1/student"])


def test_epochs_that_are_trained_again_are_replaced(folder: RunFolder, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    epochs, place = list(folder.epochs), tmp_path / "logs"
    [tracker] = open_trackers([f"tensorboard:{place}"]).values()
    curves, where = RunCurves(tracker, described(folder)), place / "small" / folder.path.name
    curves.bring(epochs[:2], 1e9)
    curves.bring(epochs[:1], 1e9)  # back to the checkpoint
    steps(epochs[:2], event_files(where)["top1/student"])
    again = [epochs[0], epochs[1].model_copy(update={"images_per_second": 5.0}), epochs[2]]
    for end in (2, 3):
        curves.bring(again[:end], 1e9)
    steps(again, event_files(where)["top1/student"])
    assert event_files(where)["training/images_per_second"][1] == (2, 5.0)


class Recorder:
    """A tracker in memory, which may fail."""

    see = "nowhere"

    def __init__(self, fails: bool = False) -> None:
        self.calls: list[Any] = []
        self.fails = fails

    def begin(self, run: Any) -> None:
        self.calls.append("begin")

    def add(self, run: Any, epoch: int, time: float, values: Any) -> None:
        if self.fails:
            raise ConnectionError("no route\nto host")
        self.calls.append(epoch)

    def end(self, run: Any, state: Any) -> None:
        self.calls.append(str(state))


def test_a_run_is_followed_as_it_goes(folder: RunFolder) -> None:
    lines = (folder.path / METRICS).read_text().splitlines(keepends=True)
    good, bad, warnings = Recorder(), Recorder(fails=True), list[str]()
    (folder.path / "record.json").unlink()
    with Follower({"good": good, "bad": bad}, warnings.append) as follower:
        for end in range(4):
            (folder.path / METRICS).write_text("".join(lines[:end]) + '{"epoch": 0, "torn')
            follower.advanced(folder)
            follower.advanced(folder)
        (folder.path / METRICS).write_text("".join(lines))
        follower.ended(folder)
    assert good.calls == ["begin", 1, 2, 3, "interrupted"]
    assert bad.calls == ["begin"]
    assert warnings == ["bad: gets no more curves (ConnectionError: no route to host); the training continues"]


def test_a_tracker_that_hangs_holds_up_nothing(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(base, "PATIENCE", 0.1)
    hangs, warnings = Recorder(), list[str]()
    hangs.begin = lambda run: threading.Event().wait(2)  # type: ignore[assignment]
    with Follower({"slow": hangs}, warnings.append) as follower:
        follower.ended(folder)
    assert warnings == ["slow: behind, and left so after 0 s"]


@pytest.mark.usefixtures("stubbed", "tiny")
def test_run_tracks_what_it_trains(okdbench: Command, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    status, out, err = okdbench("run", "tiny.yaml", "-m", "baseline", "--track", "tensorboard")
    assert (status, err) == (0, "") and "curves: tensorboard --logdir tensorboard\n" in out
    runs = expand(load("tiny.yaml"), Selection(methods=("baseline",))).runs
    for run in runs:
        found = event_files(tmp_path / "tensorboard" / "tiny" / run.config.folder)
        assert found["top1/student"] == [(1, 55.5), (2, 55.5), (3, 55.5)]
    again = okdbench("run", "tiny.yaml", "-m", "baseline", "--track", "tensorboard")
    assert again.status == 0 and "curves" not in again.out


@pytest.mark.usefixtures("stubbed", "tiny")
def test_a_tracker_that_fails_never_stops_a_training(okdbench: Command, tmp_path: Path) -> None:
    [(name, text)] = files(PAGE).items()
    (tmp_path / name).write_text(text.replace("def add(", "def add(self, *given):\n        1 / 0\n\n    def never("))
    status, out, err = okdbench("--plugin", name, "run", "tiny.yaml", "-m", "baseline", "--track", "csv")
    assert status == 0 and "2 runs: 2 finished\n" in out
    assert err == "csv: gets no more curves (ZeroDivisionError: division by zero); the training continues\n"


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow-skinny")])
def test_a_missing_extra_is_refused_before_training(
    name: str, package: str, okdbench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [each for each in sys.modules if each.split(".")[0] == name] or [name]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, name, None)
    status, out, err = okdbench("run", "quickstart", "--track", name)
    assert (status, out) == (2, "") and not Path("results").exists()
    told = f"okdbench: error: {name}: needs the package {package}: pip install "
    assert err.startswith(told) and f"'{package}>=" in err.removeprefix(told).splitlines()[0]


def test_an_unknown_tracker_is_answered_with_a_suggestion(okdbench: Command) -> None:
    status, _, err = okdbench("run", "quickstart", "--track", "tensorbord")
    assert status == 2 and 'there is no tracker "tensorbord"; did you mean "tensorboard"?' in err


@pytest.mark.slow
def test_the_tracker_of_the_page_works(okdbench: Command, tmp_path: Path) -> None:
    [(name, text)] = files(PAGE).items()
    (tmp_path / name).write_text(text)
    for words in commands(PAGE):
        if "--plugin" in words:
            done = okdbench(*words)
            assert done.status == 0, done
    [live], [after] = (list(Path(place).iterdir()) for place in ("curves", "again"))
    assert live.name == after.name
    rows = [line.split(",") for line in live.read_text().splitlines()]
    assert rows[0] == ["epoch", "time", "name", "value"] and {"top1/student", "training/loss"} <= {r[2] for r in rows}
    assert [(r[0], *r[2:]) for r in rows] == [
        (r[0], *r[2:]) for r in (line.split(",") for line in after.read_text().splitlines())
    ]

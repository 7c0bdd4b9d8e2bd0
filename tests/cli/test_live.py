"""What run prints while it works, from made-up events."""

from pathlib import Path

import pytest

from okdbench.cli.live import GridProgress, LiveView, NoView, PlainView, view
from okdbench.cli.output import duration, verbosity
from okdbench.config import CosineSchedule, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.engines import Advanced, Ended, Job, Restarting, Started, Stopping
from okdbench.runs.folder import RunFolder
from okdbench.runs.records import Snapshot, State


class Clock:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def job(folder: Path, seed: int = 0, epochs: int = 10) -> Job:
    training = TrainingSettings(
        epochs=epochs, optimizer=OptimizerSettings(lr=0.1), schedule=CosineSchedule(name="cosine")
    )
    config = RunConfig(dataset="digits", network="resnet8", method="some", settings={}, training=training, seed=seed)
    return Job(config, RunFolder(folder / str(seed)), f"digits resnet8 some seed {seed}")


def snapshot(epoch: int, step: int = 0, epochs: int = 10, accuracy: float | None = None) -> Snapshot:
    place = {"epoch": epoch, "epochs": epochs, "step": step, "steps": 4, "time": 0.0}
    return Snapshot(**place, loss=1.5, head="student", accuracy=accuracy, images_per_second=1234.5)


def test_time_left_counts_only_what_this_session_trained(tmp_path: Path) -> None:
    clock, first, second = Clock(), job(tmp_path, 0), job(tmp_path, 1)
    tally = GridProgress([first, second], clock)
    tally.add(Advanced(first, snapshot(6)))  # continued: six epochs are from before
    assert tally.fraction == 0.3 and tally.left is None
    clock.now = 20.0
    tally.add(Advanced(first, snapshot(8)))
    assert tally.fraction == 0.4
    assert tally.left == pytest.approx(12 * 10.0)


def test_the_rest_of_a_failed_run_is_no_work_left(tmp_path: Path) -> None:
    clock, first, second = Clock(), job(tmp_path, 0), job(tmp_path, 1)
    tally = GridProgress([first, second], clock)
    tally.add(Advanced(first, snapshot(0)))
    clock.now = 10.0
    tally.add(Advanced(first, snapshot(5)))
    tally.add(Ended(first, State.failed, "out of luck"))
    assert tally.ended == 1 and tally.left == pytest.approx(20.0)


def test_a_run_taken_over_says_nothing_of_the_pace(tmp_path: Path) -> None:
    clock, first, second = Clock(), job(tmp_path, 0), job(tmp_path, 1)
    tally = GridProgress([first, second], clock)
    clock.now = 10.0
    tally.add(Ended(first, State.finished, "taken over from other"))
    assert tally.fraction == 0.5 and tally.left is None
    tally.add(Started(second))
    clock.now = 30.0
    tally.add(Ended(second, State.finished))
    assert tally.fraction == 1.0 and tally.left == 0.0


def test_an_interrupted_run_has_not_ended(tmp_path: Path) -> None:
    tally = GridProgress([job(tmp_path)])
    tally.add(Ended(job(tmp_path), State.interrupted))
    assert tally.ended == 0


def test_plain_lines_come_by_epoch_and_not_too_often(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clock, one = Clock(), job(tmp_path)
    with PlainView([one], interval=5.0, clock=clock) as view:
        view(Started(one))
        for now, epoch in ((6.0, 0), (7.0, 1), (8.0, 2), (11.0, 3), (12.5, 3), (13.0, 4)):
            clock.now = now
            view(Advanced(one, snapshot(epoch, accuracy=55.5)))
        one.folder.write_progress(snapshot(9, 4, accuracy=77.25))
        view(Ended(one, State.finished))
    assert capsys.readouterr().out.splitlines() == [
        "[0/1] digits resnet8 some seed 0: started",
        "[0/1] digits resnet8 some seed 0: epoch 1/10  loss 1.500  student 55.50 %  1,234 images/s",
        "[0/1] digits resnet8 some seed 0: epoch 3/10  loss 1.500  student 55.50 %  1,234 images/s",
        "[1/1] digits resnet8 some seed 0: finished, student 77.25 %",
    ]


def test_how_a_run_is_computed_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = job(tmp_path)
    with PlainView([one], interval=0.0) as view:
        view(Started(one))
        view(Advanced(one, snapshot(1).model_copy(update={"compute_summary": "eager, bfloat16, no graph: it decides"})))
    assert capsys.readouterr().out.endswith("1,234 images/s  eager, bfloat16, no graph: it decides\n")


def test_a_run_that_starts_again_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = job(tmp_path)
    event = Restarting(one, "graph failed (out of luck); continues with eager")
    for shown in (PlainView([one]), LiveView([one])):
        shown(Started(one))
        shown(event)
    *_, plain, live = capsys.readouterr().out.splitlines()
    line = "digits resnet8 some seed 0: started again: graph failed (out of luck); continues with eager"
    assert plain == f"[0/1] {line}" and live == line


def test_quiet_and_verbose_choose_the_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbosity, "quiet", True)
    assert isinstance(view([job(tmp_path)]), NoView)
    monkeypatch.setattr(verbosity, "quiet", False)
    monkeypatch.setattr(verbosity, "verbose", True)
    assert isinstance(view([job(tmp_path)]), PlainView)


def test_evaluation_is_called_testing(tmp_path: Path) -> None:
    from rich.console import Console

    one = job(tmp_path)
    live = LiveView([one])
    for step, words in ((3, "epoch 5/10 loss"), (4, "epoch 5/10 testing loss")):
        live(Advanced(one, snapshot(4, step)))
        console = Console(width=110, record=True, file=(tmp_path / "screen").open("w"))
        console.print(live)
        assert words in " ".join(console.export_text().split())


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_each_run_has_one_line_at_any_width(width: int, tmp_path: Path) -> None:
    from dataclasses import replace

    from rich.console import Console

    jobs = [
        replace(job(tmp_path, seed), title=f"tiny-imagenet resnet110_bottleneck dkel alpha=0.25 seed {seed}")
        for seed in range(3)
    ]
    live = LiveView(jobs)
    for number, each in enumerate(jobs):
        live(Started(each))
        live(Advanced(each, snapshot(4, 2 * number, accuracy=55.5)))
    console = Console(width=width, record=True, file=(tmp_path / "screen").open("w"))
    console.print(live)
    bar, *lines = console.export_text().splitlines()
    assert bar.startswith("0/3 runs") and len(bar) <= width
    assert len(lines) == 3 and all(len(line) <= width for line in lines)
    for seed, line in enumerate(lines):
        assert f"seed {seed}  epoch 5/10" in line
    assert "testing" in lines[2] and (width < 80 or "55.50 %" in lines[2])


def test_what_is_not_ended_is_not_complete(tmp_path: Path) -> None:
    from rich.console import Console

    one = job(tmp_path)
    live = LiveView([one])
    for event in (Started(one), Advanced(one, snapshot(0)), Advanced(one, snapshot(9, 4, accuracy=55.5))):
        live(event)
    console = Console(width=80, record=True, file=(tmp_path / "screen").open("w"))
    console.print(live)
    bar = console.export_text().splitlines()[0]
    assert " 99%" in bar and bar.endswith("testing") and "left" not in bar


def test_a_failure_names_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = job(tmp_path)
    PlainView([one])(Ended(one, State.failed, "out of [luck]"))
    assert capsys.readouterr().out == (
        f"[1/1] digits resnet8 some seed 0: failed: out of [luck]; log: {tmp_path / '0' / 'log.txt'}\n"
    )


def test_the_live_view_shows_the_grid_and_each_run_in_work(tmp_path: Path) -> None:
    from rich.console import Console

    first, second = job(tmp_path, 0), job(tmp_path, 1)
    view = LiveView([first, second])
    for event in (Started(first), Advanced(first, snapshot(4, 2, accuracy=55.5)), Started(second), Stopping(2)):
        view(event)
    console = Console(width=110, record=True, file=(tmp_path / "screen").open("w"))
    console.print(view)
    bar, *runs, note = console.export_text().splitlines()
    assert bar.startswith("0/2 runs") and " 22%" in bar
    assert [" ".join(line.split()) for line in runs] == [
        "digits resnet8 some seed 0 epoch 5/10 loss 1.500 student 55.50 % 1,234 images/s",
        "digits resnet8 some seed 1 starting",
    ]
    assert note.startswith("stopping: 2 runs writing a checkpoint")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(7, "0:07"), (754.4, "12:34"), (3723, "1:02:03"), (47 * 3600, "47:00:00"), (51 * 3600, "2 d 3 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text

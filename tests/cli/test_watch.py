"""status without a recipe, and watch: what somebody sees who only reads the files of runs trained elsewhere."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fabricate
import pytest
from commandline import Command

from okdbench.cli.watch import Watched
from okdbench.config import RunConfig
from okdbench.engines import Advanced, Ended, Started
from okdbench.plan import expand
from okdbench.plan.jobs import plan_jobs
from okdbench.recipe import load
from okdbench.runs.folder import RunFolder
from okdbench.runs.lease import held
from okdbench.runs.records import Snapshot, State
from okdbench.runs.status import read_status

RESULTS = Path("results")

pytestmark = pytest.mark.usefixtures("tiny")


def configs(recipe: str = "tiny.yaml") -> list[RunConfig]:
    return [run.config for run in expand(load(recipe)).runs]


def fabricated(config: RunConfig, epochs: int, status: str = "finished", recipe: str = "tiny") -> Path:
    heads = {"student": [50.0 + epoch for epoch in range(epochs)]}
    return fabricate.run(RESULTS, config, heads, status=status, recipe=recipe)


def snapshot(epoch: int = 1, step: int = 5) -> Snapshot:
    place = {"epoch": epoch, "epochs": 4, "step": step, "steps": 10, "time": 0.0}
    return Snapshot(**place, loss=1.5, head="student", accuracy=51.0, images_per_second=1234.5)


@contextmanager
def trained(folder: Path) -> Iterator[None]:
    with held(folder):
        yield


def test_status_of_all_recipes_with_accuracy_speed_and_time_left(okdbench: Command) -> None:
    first, second, third, *others = configs("quickstart")  # a recipe of one's own is not known by its folder
    fabricated(first, 4, recipe="quickstart")
    working = fabricated(second, 2, status="running", recipe="quickstart")
    RunFolder(working).write_progress(snapshot())
    failed = fabricated(third, 1, status="failed", recipe="quickstart")
    (failed / "failure.json").write_text('{"error": "ValueError: out of luck"}')
    with trained(working):
        out = okdbench("status").out
        verbose = okdbench("status", "-v").out
        recipe = okdbench("status", "quickstart").out
        facts = json.loads(okdbench("status", "--format", "json").out)
    words = " ".join(out.split())
    assert f"quickstart 1 finished, 1 failed, 1 running, {len(others)} pending" in words
    assert "53.00 to 53.00 %" in words and "1,234" in words
    assert "about 0:02" in words  # 2.5 epochs of one second
    assert "failed: ValueError: out of luck; log: results/quickstart/" in out
    row = next(line for line in verbose.splitlines() if " running " in line)
    assert "digits-8x8 resnet8 baseline s1" in row and "2/4" in " ".join(verbose.split())
    assert "in training:" in recipe and "53.00 %" in recipe and "running 2/4" in recipe
    [found] = [each for each in facts["recipes"]["quickstart"]["runs"] if each["state"] == "running"]
    assert (found["accuracy"], found["left"], found["since"] > 0) == (51.0, pytest.approx(2.5), True)


def test_status_without_any_run_names_the_first_step(okdbench: Command) -> None:
    assert okdbench("status").out == "no runs in results; a first table: okdbench run quickstart\n"


def test_a_part_needs_a_recipe(okdbench: Command) -> None:
    status, _, err = okdbench("status", "-m", "dkel")
    assert status == 2 and "need the recipe's name" in err


def test_the_status_of_a_damaged_configuration(okdbench: Command) -> None:
    folder = fabricated(configs()[0], 2, status="interrupted")
    (folder / "config.json").write_text("{")
    status, out, _ = okdbench("status")
    assert status == 1 and "config.json: damaged" in out
    assert read_status(RunFolder(folder)).state is State.damaged


def test_watch_tells_what_happens_in_the_files(okdbench: Command) -> None:
    first, second, *_ = plan_jobs(expand(load("tiny.yaml")), RESULTS)
    watched = Watched([first.job, second.job])
    assert list(watched.news()) == [] and not watched.over
    folder = fabricated(configs()[0], 2, status="running")
    first.job.folder.write_progress(snapshot())
    with trained(folder):
        assert list(watched.news()) == [Started(first.job), Advanced(first.job, snapshot())]
        assert list(watched.news()) == []
    assert [type(event) for event in watched.news()] == [Ended]
    assert not watched.over, "it was interrupted, and may continue"
    for job in (first.job, second.job):
        (folder := job.folder.path).mkdir(exist_ok=True)
        (folder / "failure.json").write_text('{"error": "out of luck"}')
    assert [(event.state, event.reason) for event in watched.news() if isinstance(event, Ended)] == [
        (State.failed, "out of luck"),
        (State.failed, "out of luck"),
    ]
    assert watched.over


def test_watch_ends_when_all_is_finished(okdbench: Command) -> None:
    for config in configs()[:2]:
        fabricated(config, 4)
    status, out, _ = okdbench("watch", "tiny.yaml", "-m", "baseline")
    assert status == 0 and out.endswith("2 runs: 2 finished\n")

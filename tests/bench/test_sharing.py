"""How many runs at a time a device trains best."""

from pathlib import Path

import pytest
import torch

from okdbench.bench import BenchGrid, TimedRun, cases
from okdbench.bench.ours import Ours
from okdbench.bench.sharing import largest_gain, measure_rates, tune_jobs_per_device
from okdbench.bench.timing import Stopwatch
from okdbench.config import RunConfig
from okdbench.runs.execution import Execution


def config() -> RunConfig:
    [case] = cases(BenchGrid(["digits"], ["resnet8"], ["baseline"], [16], {}, subset=40), Path())
    return case


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({1: 100.0, 2: 170.0, 3: 200.0, 4: 203.0}, 3),
        ({1: 100.0, 2: 101.0, 3: 102.0, 4: 110.0}, 4),
        ({1: 100.0, 2: 90.0, 3: 80.0, 4: 70.0}, 1),
    ],
)
def test_the_greatest_number_that_is_a_gain_is_chosen(rates: dict[int, float], best: int) -> None:
    assert largest_gain(rates) == best


def test_rates_are_those_of_all_runs_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def block(self: Ours, steps: int, jobs: int | None = None) -> Stopwatch:
        return Stopwatch(0.5 * steps / (jobs or 1))

    monkeypatch.setattr(Ours, "block", block)
    run = TimedRun(config(), tmp_path, torch.device("cpu"))
    assert measure_rates(run, candidates=(1, 2), steps=7) == {1: 32.0, 2: 64.0}


def test_on_a_cpu_nothing_is_tried(tmp_path: Path) -> None:
    assert tune_jobs_per_device(TimedRun(config(), tmp_path, torch.device("cpu"))) == (1, {})


def test_runs_that_share_a_device_are_timed_together(tmp_path: Path) -> None:
    ours = Ours(TimedRun(config(), tmp_path, torch.device("cpu"), execution=Execution(jobs=2)))
    assert ours.facts()["jobs"] == 2
    one, both = ours.trainers
    assert (one.config.seed, both.config.seed) == (0, 1)
    before = [int(trainer.step.progress.step) for trainer in ours.trainers]
    assert ours.block(3, jobs=1).seconds > 0 and ours.block(1).seconds > 0
    after = [int(trainer.step.progress.step) for trainer in ours.trainers]
    assert [b - a for a, b in zip(before, after, strict=True)] == [4, 1]
    [watch] = ours.epochs(1)
    assert watch.seconds > 0

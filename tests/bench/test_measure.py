"""Measurements: the three loops of a run, what is kept of them, and how it is printed."""

import json
import re
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fabricate
import pytest
import torch

from okdbench.bench import (
    LOOPS,
    BenchGrid,
    Effort,
    Measurement,
    Spread,
    TimedRun,
    cases,
    save_measurement,
    time_loops,
    time_runs,
)
from okdbench.bench.loops import AsPublished, FairEager, Loop
from okdbench.bench.ours import Ours
from okdbench.bench.timing import Stopwatch
from okdbench.config import RunConfig
from okdbench.errors import UsageError
from okdbench.plan.measured import speeds
from okdbench.report import build, formats
from okdbench.report.bench import RecipeSpeedReport, SpeedReport
from okdbench.runs.execution import Execution, Precision

CPU = torch.device("cpu")
KEYS = (
    "ratio_as_published",
    "ratio_fair_eager",
    "images_per_second",
    "step_ms",
    "peak_memory_bytes",
    "percent_of_floor",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


IN_FLOAT32 = Execution(precision=Precision.float32)


def config(method: str = "dkel", **changes: object) -> RunConfig:
    wanted = BenchGrid(["digits"], ["resnet8"], [method], [16], {}, subset=40)
    [case] = cases(replace(wanted, **changes), Path())
    return case


@pytest.fixture(scope="module")
def measured(root: Path) -> Measurement:
    said: list[str] = []
    effort = Effort(blocks=2, steps=1, warm_up=1, epochs=1)
    result = time_loops(
        TimedRun(config(), root, CPU, workers=1, execution=IN_FLOAT32), effort, list(LOOPS), said.append
    )
    assert [line.partition(":")[0] for line in said[:3]] == ["as-published", "fair-eager", "ours"]
    return result


def test_every_loop_is_timed_with_its_epochs(measured: Measurement) -> None:
    assert list(measured.loops) == ["as-published", "fair-eager", "ours"]
    for timing in measured.loops.values():
        assert len(timing.blocks) == 2 and min(timing.blocks) > 0
        assert timing.step_ms.low <= timing.step_ms.median <= timing.step_ms.high
        assert timing.images_per_second == pytest.approx(16_000 / timing.step_ms.median)
        assert timing.percent_of_floor > 0 and timing.setup_seconds > 0
    assert set(measured.ratios) == set(measured.processor_ratios) == {"as-published", "fair-eager"}
    assert measured.epochs
    assert {name: len(seconds) for name, seconds in measured.epochs.seconds.items()} == dict.fromkeys(LOOPS, 1)
    assert (measured.epochs.images, measured.epochs.test_images) == (40, 10)


def test_the_keys_that_programs_read(measured: Measurement, tmp_path: Path) -> None:
    path = save_measurement(tmp_path, measured)
    assert path.parent.parent == tmp_path / "bench"
    assert re.fullmatch(r"[A-Za-z0-9._-]+/digits\.resnet8\.dkel\.b16\.[0-9a-f]{8}\.json", "/".join(path.parts[-2:]))
    facts = json.loads(path.read_text())
    assert all(facts[key] > 0 for key in KEYS if key != "peak_memory_bytes")
    assert facts["ratio_as_published"] == facts["ratios"]["as-published"]["median"]
    assert facts["execution"]["backend"] == "eager" and facts["execution"]["precision"] == "float32"
    assert facts["environment"]["torch"] == torch.__version__
    assert save_measurement(tmp_path, measured) == path, "the same measurement again takes the place of the old one"


def test_what_is_saved_serves_the_cost_estimate(measured: Measurement, tmp_path: Path) -> None:
    save_measurement(tmp_path, measured)
    [(device, [speed])] = speeds(tmp_path).items()
    assert device == measured.device and speed.config == measured.config
    assert speed.seconds == pytest.approx(1 / measured.ours.images_per_second)


def written(format: str, measurement: Measurement, width: int | None = None) -> str:
    return formats.get(format).write(SpeedReport([measurement]), formats.Screen(width))


def test_text_markdown_and_json_say_the_same(measured: Measurement) -> None:
    text, markdown = written("text", measured), written("markdown", measured)
    step = f"{measured.ours.step_ms.median:.2f}"
    ratio = f"{measured.ratios['as-published'].median:.2f}"
    assert step in text and step in markdown and ratio in text and ratio in markdown
    assert "Whole epochs" in text and "| as-published" in markdown
    [facts] = json.loads(written("json", measured))["measurements"]
    assert facts["step_ms"] == measured.ours.step_ms.median
    assert all(len(line) <= 100 for line in written("text", measured, width=100).splitlines())


def test_a_method_without_public_loop_is_compared_with_the_fair_one(root: Path) -> None:
    result = time_loops(TimedRun(config("dml"), root, CPU), Effort(1, 1, 1, 0), list(LOOPS), lambda line: None)
    assert list(result.loops) == ["fair-eager", "ours"]
    assert result.facts()["ratio_as_published"] is None and result.facts()["epoch_seconds"] is None
    assert "—" in written("text", result)


class StandIn(Loop):
    """A loop whose step takes a time of its own making."""

    seconds = 1.0

    def block(self, steps: int) -> Stopwatch:
        return Stopwatch(self.seconds * steps, 2 * self.seconds * steps)

    def epochs(self, number: int) -> list[Stopwatch]:
        return [Stopwatch(100 * self.seconds, 0.0)] * number


def standing(seconds: float) -> Callable[[TimedRun], Loop]:
    return type("Made", (StandIn,), {"seconds": seconds})


def test_ratios_are_times_over_ours(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOOPS, AsPublished.name, standing(6.0))
    monkeypatch.setitem(LOOPS, FairEager.name, standing(3.0))
    monkeypatch.setattr(Ours, "block", StandIn.block)
    monkeypatch.setattr(Ours, "seconds", 1.0, raising=False)
    monkeypatch.setattr(Ours, "epochs", StandIn.epochs)
    result = time_loops(TimedRun(config(), root, CPU), Effort(3, 2, 1, 2), list(LOOPS), lambda line: None)
    assert result.ratios == {"as-published": Spread(6.0, 6.0, 6.0), "fair-eager": Spread(3.0, 3.0, 3.0)}
    assert result.processor_ratios == result.ratios
    assert result.ours.step_ms == Spread(1000.0, 1000.0, 1000.0) and result.ours.images_per_second == 16
    assert result.epochs and result.epochs.ratios["as-published"].median == 6.0
    assert result.facts()["epoch_seconds"] == 100.0


def test_the_three_loops_start_from_the_same_weights(root: Path) -> None:
    run = TimedRun(config(), root, CPU, workers=0, execution=IN_FLOAT32)
    states = [AsPublished(run).method, FairEager(run).method, Ours(run).trainers[0].method]
    first, *others = [method.state_dict() for method in states]
    assert all(torch.equal(value, other[key]) for other in others for key, value in first.items())


def test_the_trainings_of_a_recipe_take_turns(root: Path, tmp_path: Path) -> None:
    grid = {"dataset": ["digits"], "network": ["resnet8"], "method": ["baseline", "dkel", "kd"]}
    plan = fabricate.plan(
        tmp_path,
        grid=grid,
        readings={"last": {"epoch": "last"}},
        teachers={"kd": {"network": "resnet20", "method": "baseline"}},
        training={**fabricate.RECIPE["training"], "batch_size": 16},
        data={"subset": 40},
        reported=None,
    )
    runs = plan.trainings
    assert [run.config.method for run in runs] == ["baseline", "dkel", "kd"], "readings share their training"
    timed = [TimedRun(run.config.source, root, CPU, 0, IN_FLOAT32) for run in runs[:2]]
    baseline, dkel = time_runs(timed, Effort(blocks=3, steps=1, warm_up=1, epochs=0), lambda line: None)
    assert list(baseline.loops) == list(dkel.loops) == ["ours"] and len(dkel.ours.blocks) == 3
    content = RecipeSpeedReport("Two methods", runs[:2], [baseline, dkel])
    first, second = content.facts()["trainings"]
    assert first["time"] == {"median": 1.0, "low": 1.0, "high": 1.0} and first["arithmetic"] == 1.0
    assert second["time"]["median"] == statistics.median(
        one / other for one, other in zip(dkel.ours.blocks, baseline.ours.blocks, strict=True)
    )
    assert 1.5 < second["arithmetic"] < 5
    [row] = [line for line in formats.get("text").write(content, formats.Screen()).splitlines() if " dkel " in line]
    assert f"{second['arithmetic']:.2f}" in row
    for each in (baseline, dkel):
        save_measurement(tmp_path, each)
    for run in plan.runs:
        fabricate.run(tmp_path, run.config, {"student": [50.0 + run.config.seed]})
    report = build(plan, tmp_path)
    [[arithmetic], *hours] = report.charts()["accuracy-cost"].rows
    assert len(arithmetic.series) == 3 and hours[0][0].x_label == "Hours of the fastest run", "KD was not timed"
    two = replace(report, cells=tuple(each for each in report.cells if each.cell.method != "kd"))
    chart = two.charts()["accuracy-cost"]
    slow, fast = chart.rows[1][0].series[1].x[0], chart.rows[1][0].series[0].x[0]
    assert chart.rows[1][0].x_label == "Hours of a run, by its speed" and slow > fast
    assert f"Hours measured on {baseline.device}." in chart.note


def test_every_combination_is_a_case(root: Path) -> None:
    wanted = BenchGrid(["digits"], ["resnet8"], ["dkel", "dkel@released"], [16, 32], {"peers": [2, 3], "views": []})
    made = cases(wanted, root)
    assert len(made) == len({case.id for case in made}) == 8
    assert {case.settings.get("peers", 3) for case in made} == {2, 3}
    [absent] = cases(BenchGrid(["cifar100"], ["resnet8"], ["baseline"], [16], {}), root)
    assert absent.dataset == "synthetic-cifar100"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": ["cifar"]}, "cifar"),
        ({"networks": ["resnet9"]}, "resnet9"),
        ({"methods": ["dkell"]}, 'did you mean "dkel"'),
        ({"settings": {"peers": [1]}}, "--peers: .*greater than or equal to 2.*dkel"),
        ({"methods": ["baseline"], "settings": {"peers": [3]}}, "--peers: baseline has no such setting"),
        ({"methods": ["kd"]}, "--method kd --network resnet8: KD needs the trained teacher of another run"),
        ({"networks": ["resnet8+resnet32"]}, "DKEL is made of one network"),
        ({"batch_sizes": [64]}, "--batch-size: 64 is more than the 40"),
    ],
)
def test_mistakes_are_answered_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        config(**changes)
    assert "\n" not in str(raised.value)


def test_efforts() -> None:
    gpu = torch.device("cuda")
    assert Effort.chosen(gpu) == Effort(blocks=5, steps=200, warm_up=50, epochs=1)
    assert Effort.chosen(gpu, quick=True, steps=9).steps == 9
    assert Effort.chosen(CPU, epochs=2).blocks == 5 and Effort.chosen(CPU, epochs=2).epochs == 2

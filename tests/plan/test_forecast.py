"""Hours and disk before training: from measurements, else from finished runs, else from a model that says so."""

from pathlib import Path

import fabricate
import pytest

from okdbench.config import RunConfig
from okdbench.machine import main_device_name
from okdbench.plan import Plan, Selection
from okdbench.plan.cost import run_cost
from okdbench.plan.forecast import MODELLED_DEVICE, clocks, disk, due
from okdbench.plan.jobs import plan_jobs
from okdbench.runs.folder import RunFolder


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    found = fabricate.plan(tmp_path, Selection(networks=("resnet8",), seeds=(0, 1)))
    assert isinstance(found, Plan)
    return found


def first(plan: Plan) -> RunConfig:
    return plan.runs[0].config


def test_without_any_speed_the_model_tells(plan: Plan, tmp_path: Path) -> None:
    [clock] = clocks(tmp_path)
    cost = run_cost(first(plan))
    assert (clock.device, clock.source) == (MODELLED_DEVICE, "model")
    assert clock.hours(cost).hours == cost.gpu_hours


def test_finished_runs_tell_the_speed_and_bench_knows_better(plan: Plan, tmp_path: Path) -> None:
    device = main_device_name()
    for seed, (rate, seconds) in enumerate(((200.0, 60.0), (1e6, 1.0))):  # the second ends too soon to say anything
        changes = {"images_per_second": rate, "wall_seconds": seconds, "environment": {"device_name": device}}
        fabricate.run(tmp_path, plan.runs[seed].config, {"student": [1.0, 2.0]}, **changes)
    smoke = first(plan).model_copy(update={"data": first(plan).data.model_copy(update={"subset": 64})})
    slow = {"images_per_second": 20.0, "wall_seconds": 60.0, "environment": {"device_name": device}}
    fabricate.run(tmp_path, smoke, {"student": [1.0, 2.0]}, **slow)  # a minute, but for a few steps of it
    cost = run_cost(first(plan))
    images = 2 * (50_000 - 50_000 % 128 + 80 + 10_000 / 3)  # whole epochs; a test is a third of a step
    [clock] = clocks(tmp_path)
    assert (clock.device, clock.source) == (device, "records")
    assert clock.hours(cost).hours == pytest.approx(images / 200 / 3600, rel=0.01)
    fabricate.measurement(tmp_path, "mine", first(plan), 400, device)
    fabricate.measurement(tmp_path, "other", first(plan), 400, "Another GPU")
    here, other = clocks(tmp_path)
    assert [(each.device, each.source) for each in (here, other)] == [(device, "bench"), ("Another GPU", "bench")]
    assert here.hours(cost).hours == pytest.approx(clock.hours(cost).hours / 2)


def test_a_gpu_of_unknown_speed_is_told_by_the_model_first(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabricate.measurement(tmp_path, "other", first(plan), 400, "A CPU elsewhere")
    assert [clock.device for clock in clocks(tmp_path)] == ["A CPU elsewhere"], "the nearest thing to this CPU"
    monkeypatch.setattr("okdbench.plan.forecast.gpu_count", lambda: 1)
    monkeypatch.setattr("okdbench.plan.forecast.main_device_name", lambda: "A new GPU")
    assert [clock.device for clock in clocks(tmp_path)] == [MODELLED_DEVICE, "A CPU elsewhere"]
    fabricate.measurement(tmp_path, "here", first(plan), 4000, "A new GPU")
    assert [clock.device for clock in clocks(tmp_path)] == ["A new GPU", "A CPU elsewhere"]


def test_runs_that_took_turns_had_a_share_of_the_device_each(plan: Plan, tmp_path: Path) -> None:
    hours = []
    for jobs in (1, 3):
        environment = {"device_name": main_device_name(), "jobs": jobs}
        changes = {"images_per_second": 60.0 / jobs, "wall_seconds": 60.0 * jobs, "environment": environment}
        folder = fabricate.run(tmp_path / str(jobs), first(plan), {"student": [1.0, 2.0]}, **changes)
        record = RunFolder(folder).record
        assert record and record.hours == pytest.approx(1 / 60)
        [clock] = clocks(tmp_path / str(jobs))
        hours.append(clock.hours(run_cost(first(plan))).hours)
    assert hours[1] == pytest.approx(hours[0])


def test_what_is_done_costs_nothing_more(plan: Plan, tmp_path: Path) -> None:
    results = tmp_path / "results"
    fabricate.run(results, plan.runs[0].config, {"student": [1.0, 2.0]})
    fabricate.run(results, plan.runs[1].config, {"student": [1.0]}, status="interrupted")
    left = due(plan_jobs(plan, results))
    assert [each.planned.run.id for each in left] == [run.id for run in plan.runs[1:]]
    assert [each.part for each in left] == [0.5, 1.0, 1.0]
    [clock] = clocks(tmp_path / "nothing")
    assert left[0].hours(clock).hours == pytest.approx(left[0].cost.gpu_hours / 2)


def test_disk_counts_weights_checkpoints_and_images(plan: Plan, tmp_path: Path) -> None:
    left = due(plan_jobs(plan, tmp_path))
    plain, dkel = left[0].cost, left[-1].cost
    assert plain.stored == pytest.approx(4 * plain.parameters, rel=0.05)  # and what batch normalisation keeps
    assert plain.working - plain.stored == pytest.approx(3 * 2 * 4 * plain.parameters, rel=0.05)
    one, two = disk(left, tmp_path, 1), disk(left, tmp_path, 2)
    assert one.stored == sum(each.cost.stored for each in left)
    assert one.working == dkel.working - dkel.stored and two.working == 2 * one.working
    assert one.images == 60_000 * 3 * 32 * 32

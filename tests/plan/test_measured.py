"""Hours from measured speed: exact where the training was timed, in proportion to the arithmetic elsewhere."""

from pathlib import Path

import fabricate
import pytest

from okdbench.config import RunConfig
from okdbench.errors import UsageError
from okdbench.plan import Selection, expand
from okdbench.plan.cost import CellCost, estimate, step_macs
from okdbench.plan.measured import hours, speeds
from okdbench.recipe import load

GPU = "Some GPU"


@pytest.fixture(scope="module")
def costs() -> dict[str, CellCost]:
    chosen = Selection(datasets=("cifar100",), networks=("resnet32",), methods=("baseline", "dml", "dkel"))
    return {cost.cell.method: cost for cost in estimate(expand(load("dkel-table1"), chosen))}


def config(cost: CellCost) -> RunConfig:
    return cost.cell.runs[0].config


def test_what_was_timed_is_exact(tmp_path: Path, costs: dict[str, CellCost]) -> None:
    cost = costs["baseline"]
    fabricate.measurement(tmp_path, "slow", config(cost).model_copy(update={"seed": 0}), 1000)
    fabricate.measurement(tmp_path, "fast", config(cost).model_copy(update={"seed": 0}), 5000)
    fabricate.measurement(tmp_path, "other", config(cost), 7000, "Other GPU")
    [(other, its), (device, measured)] = sorted(speeds(tmp_path).items())
    assert (other, device) == ("Other GPU", GPU)
    found = hours(cost, measured)
    tested = 10_000 * 1 / 3  # a forward pass is a third of a step
    assert found.basis == "measured"
    assert found.hours == pytest.approx(3 * 300 * (50_000 + tested) / 5000 / 3600, rel=1e-3)
    assert hours(cost, its).hours == pytest.approx(found.hours * 5 / 7)


def test_another_method_on_the_same_network_goes_by_arithmetic(tmp_path: Path, costs: dict[str, CellCost]) -> None:
    fabricate.measurement(tmp_path, "one", config(costs["baseline"]), 6000)
    fabricate.measurement(tmp_path, "four", config(costs["dkel"]), 1000)
    [measured] = speeds(tmp_path).values()
    found = hours(costs["dml"], measured)
    assert found.basis == "resnet32 dkel"  # 3 plain steps are nearer to 4 than to 1
    per_mac = 1 / 1000 / step_macs(config(costs["dkel"]))
    assert found.hours == pytest.approx(costs["dml"].petaflop * 1e15 / 2 * per_mac / 3600)


def test_another_network_takes_the_median(tmp_path: Path, costs: dict[str, CellCost]) -> None:
    elsewhere = config(costs["baseline"]).model_copy(update={"network": "resnet8"})
    fabricate.measurement(tmp_path, "resnet8", elsewhere, 10_000)
    [measured] = speeds(tmp_path).values()
    found = hours(costs["baseline"], measured)
    assert found.basis == "other networks"
    expected = costs["baseline"].petaflop * 1e15 / 2 / 10_000 / step_macs(elsewhere) / 3600
    assert found.hours == pytest.approx(expected)


@pytest.mark.parametrize("text", ["{", "{}", '{"device": "x", "images_per_second": 0, "config": {}}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bench" / "gpu").mkdir(parents=True)
    (tmp_path / "bench" / "gpu" / "a.json").write_text(text)
    with pytest.raises(UsageError, match=r"a\.json: damaged"):
        speeds(tmp_path)


def test_no_measurement_is_no_device(tmp_path: Path) -> None:
    assert speeds(tmp_path) == {}

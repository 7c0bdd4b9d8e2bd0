"""Readings: several numbers from the same runs, as an axis of the recipe."""

import pytest
from small_recipe import Write

from okdbench.errors import UsageError
from okdbench.plan import Cell, Selection, expand
from okdbench.recipe import load

READINGS = """
protocol: {dml: {head: "mean(peer?)", epoch: last}}
readings:
  ema: {averaged: true}
  second: {method: dml, head: peer1, epoch: best}
"""
GRID = "grid: {dataset: cifar10, network: resnet8, method: [baseline, dml]}"
TABLE = "table: {rows: network, columns: method}"


def cells(write: Write, selection: Selection | None = None, extra: str = READINGS) -> list[Cell]:
    path = write(extra, grid=GRID, table=TABLE)
    return list(expand(load(path), selection).cells)


def test_every_label_has_the_protocol_and_the_readings_that_are_for_it(write: Write) -> None:
    found = {(cell.method, cell.reading): (cell.protocol.head, cell.protocol.epoch) for cell in cells(write)}
    assert found == {
        ("baseline", "default"): ("deployed", "last"),
        ("baseline", "ema"): ("deployed@ema", "last"),
        ("dml", "default"): ("mean(peer?)", "last"),
        ("dml", "ema"): ("mean(peer?@ema)", "last"),
        ("dml", "second"): ("peer1", "best"),
    }


def test_readings_train_nothing_more(write: Write) -> None:
    plan = expand(load(write(READINGS, grid=GRID, table=TABLE)))
    assert len(plan.runs) == 4
    assert len({tuple(run.id for run in cell.runs) for cell in plan.cells}) == 2


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (Selection(methods=("dml@second",)), [("dml", "second")]),
        (Selection(readings=("ema",)), [("baseline", "ema"), ("dml", "ema")]),
        (Selection(methods=("dml",), readings=("default",)), [("dml", "default")]),
        (
            Selection(methods=("dml@second", "baseline")),
            [("baseline", "default"), ("baseline", "ema"), ("dml", "second")],
        ),
        (Selection(methods=("dml@second", "dml")), [("dml", "default"), ("dml", "ema"), ("dml", "second")]),
    ],
)
def test_readings_are_selected_by_name_or_behind_a_label(
    write: Write, selection: Selection, chosen: list[tuple[str, str]]
) -> None:
    assert [(cell.method, cell.reading) for cell in cells(write, selection)] == chosen


def test_an_unknown_reading_is_answered_with_the_nearest(write: Write) -> None:
    with pytest.raises(UsageError, match='--reading emma: is not in the grid of mine; did you mean "ema"'):
        cells(write, Selection(readings=("emma",)))


@pytest.mark.parametrize(
    ("readings", "message"),
    [
        ("{default: {averaged: true}}", 'readings.default: "default" cannot name a reading'),
        ("{a b: {averaged: true}}", 'readings.a b: "a b" cannot name a reading'),
        ("{x: {method: dmll}}", 'readings.x.method[0]: grid.method has no "dmll"; did you mean "dml"?'),
        ("{x: {head: max(peer}}", 'readings.x.head: "max(peer" is not understood'),
        ("{x: {averagd: true}}", 'readings.x.averagd: unknown key; did you mean "averaged"?'),
    ],
)
def test_mistakes_in_readings_are_reported(write: Write, readings: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        cells(write, extra=f"readings: {readings}")
    assert message in str(caught.value)


def test_printed_numbers_and_formulas_name_a_reading(write: Write) -> None:
    numbers = """
reported:
  cells:
    - {dataset: cifar10, network: resnet8, method: dml, mean: 92}
    - {dataset: cifar10, network: resnet8, method: dml, reading: second, mean: 93}
claims:
  - {id: apart, text: they differ, source: here, printed: "1",
     formula: "cell(cifar10, resnet8, 'dml@second') - cell(cifar10, resnet8, dml)"}
"""
    found = {cell.reading: cell.reported for cell in cells(write, extra=READINGS + numbers) if cell.method == "dml"}
    assert (found["default"].mean, found["second"].mean, found["ema"]) == (92, 93, None)
    with pytest.raises(UsageError, match=r"reported.cells\[1\].*reading has no \"third\""):
        cells(write, extra=READINGS + numbers.replace("reading: second", "reading: third"))


def test_a_label_that_ends_like_a_reading_keeps_its_meaning(write: Write) -> None:
    grid = "grid: {dataset: cifar10, network: resnet8, method: [dml, dml@ema]}"
    path = write("variants: {dml@ema: {temperature: 2}}\nreadings: {ema: {averaged: true}}", grid=grid, table=TABLE)
    found = expand(load(path), Selection(methods=("dml@ema",))).cells
    assert [(cell.method, cell.reading) for cell in found] == [("dml@ema", "default"), ("dml@ema", "ema")]

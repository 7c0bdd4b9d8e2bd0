"""Readings in print: as an axis of their own, or beside their methods."""

import csv
import io
from pathlib import Path
from typing import Any

import fabricate
import pytest

from okdbench.kinds import AnyReport
from okdbench.report import build, render
from okdbench.report.model import Choice
from okdbench.results.protocol import HeadAndEpoch

READINGS = {"ema": {"averaged": True}, "second": {"method": "dml", "head": "peer1"}}
GRID = {"dataset": "cifar10", "network": "resnet8", "method": ["baseline", "dml"]}
NAMES = {"baseline": "Baseline", "default": "As trained", "ema": "Average", "dml@second": "DML (net 2)"}


def report(folder: Path, table: dict[str, Any], choice: Choice = "recipe") -> AnyReport:
    plan = fabricate.plan(
        folder,
        grid=GRID,
        readings=READINGS,
        protocol={"default": {"head": "student", "epoch": "last"}, "dml": {"head": "peer0", "epoch": "last"}},
        table={**table, "names": NAMES},
    )
    heads = {"student": 50.0, "peer0": 52.0, "peer1": 53.0}
    for run in plan.runs:
        values = {name + end: [top, top + more] for name, top in heads.items() for end, more in (("", 0), ("@ema", 1))}
        fabricate.run(folder, run.config, values)
    return build(plan, folder, choice)


def test_readings_have_columns_of_their_own(tmp_path: Path) -> None:
    [grid] = report(tmp_path, {"rows": "method", "columns": "reading"}).document().tables
    assert grid.columns == ("As trained", "Average", "second")
    rows = {name: [entry and entry.ours for entry in entries] for name, entries in grid.panels[0].rows}
    assert rows == {
        "Baseline": ["50.00 ± 0.00", "51.00 ± 0.00", None],
        "DML": ["52.00 ± 0.00", "53.00 ± 0.00", "53.00 ± 0.00"],
    }


@pytest.mark.parametrize(
    ("choice", "columns"),
    [
        ("last", ("Chosen protocol", "Average")),
        (HeadAndEpoch.of("peer1", None), ("Chosen protocol",)),
        (HeadAndEpoch.of(None, "best"), ("As trained", "Average", "second")),
    ],
    ids=str,
)
def test_a_reading_that_another_protocol_makes_the_same_is_not_shown_twice(
    tmp_path: Path, choice: Choice, columns: tuple[str, ...]
) -> None:
    [grid] = report(tmp_path, {"rows": "method", "columns": "reading"}, choice).document().tables
    assert grid.columns == columns


def test_without_a_place_they_stand_beside_their_methods(tmp_path: Path) -> None:
    document = report(tmp_path, {"rows": "network", "columns": "method"}).document()
    [grid] = document.tables
    assert grid.columns == ("Baseline", "Baseline Average", "DML", "DML Average", "DML (net 2)")
    assert "Protocol of DML (net 2): peer1, last epoch." in document.legend


def test_the_long_form_names_the_reading(tmp_path: Path) -> None:
    text = render([report(tmp_path, {"rows": "network", "columns": "method"})], "csv")
    rows = [(row["method"], row["reading"], row["head"]) for row in csv.DictReader(io.StringIO(text))]
    assert rows == [
        ("baseline", "default", "student"),
        ("baseline", "ema", "student@ema"),
        ("dml", "default", "peer0"),
        ("dml", "ema", "peer0@ema"),
        ("dml", "second", "peer1"),
    ]

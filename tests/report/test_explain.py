"""Tracing a number of a table: --explain CELL."""

import json
import math
from pathlib import Path

import fabricate
import pytest

from okdbench.errors import UsageError
from okdbench.plan import Plan
from okdbench.report import build, formats
from okdbench.report.explain import named_cells
from okdbench.report.table import TableReport


def keys(report: TableReport, text: str) -> list[str]:
    return [str(each.cell.key) for each in named_cells(report, text)]


def test_a_cell_is_named_as_the_recipe_or_the_paper_writes_it(report: TableReport) -> None:
    for text in ("cifar10 resnet8 dkel", "DKEL ResNet-8 C|10", "resnet8,dkel/c|10", "  ResNet-8  dkel C|10 "):
        assert keys(report, text) == ["cifar10 / resnet8 / dkel"]
    assert keys(report, "dkel resnet8") == ["cifar10 / resnet8 / dkel", "cifar100 / resnet8 / dkel"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("resnet9 dkel", 'no cell has that name; did you mean "resnet8"? datasets: cifar10, cifar100; networks: '),
        ("dkel dkel", "no cell has that name; datasets: "),
        (
            "",
            "names 16 cells; name one with its datasets: cifar10, cifar100; networks: resnet8, res",
        ),
    ],
)
def test_other_names_are_answered_with_those_that_there_are(report: TableReport, text: str, told: str) -> None:
    with pytest.raises(UsageError, match="--explain") as raised:
        named_cells(report, text)
    assert told in str(raised.value)


def test_every_step_can_be_followed(report: TableReport, tmp_path: Path) -> None:
    [found] = report.explanation("cifar10 resnet8 dkel").facts()["cells"]
    assert [(run["head"], run["epoch"], run["value"]) for run in found["runs"]] == [
        ("teacher0", "1", 89.0),
        ("teacher0", "1", 89.1),
        ("teacher0", "1", 89.2),
    ]
    assert all(Path(run["folder"], "record.json").is_file() for run in found["runs"])
    text = "\n".join(found["steps"])
    for step in (
        "value of a run: best teacher, last epoch; head on the test set by its accuracy; epochs count from 0.",
        "mean: (89.0000 + 89.1000 + 89.2000) / 3 = 89.1000.",
        "standard deviation: √(((-0.1000)² + (+0.0000)² + (+0.1000)²) / 2) = 0.1000.",
        "95% interval: mean ± t(2) · std / √n = 89.1000 ± 4.3027 · 0.1000 / √3 = 88.85 to 89.35.",
        "difference: 89.10 - 90.00 = -0.90, ours minus the paper's 90.00 ± 0.20.",
        "test: one-sample t-test, as the paper lacks a standard deviation or n: p = 0.004.",
        "corrected for the 4 complete cells of this report: 0.012",
        "verdict: cifar10 / resnet8 / dkel: lower: ours 89.10 ± 0.10 (n = 3)",
    ):
        assert step in text, text
    assert math.isclose(found["summary"]["mean"], 89.1) and found["comparison"]["test"] == "one-sample"
    assert found["commands"] == [
        "okdbench run small.yaml -d cifar10 -n resnet8 -m dkel --force",
        "okdbench report small.yaml -d cifar10 -n resnet8 -m dkel",
    ]


def test_best_and_last_epochs_are_named(tmp_path: Path) -> None:
    grid = {"dataset": ["cifar100"], "network": ["resnet8"], "method": ["dkel"]}
    readings = {
        "mean": {"head": "mean(teacher?)", "epoch": "last-2"},
        "best": {"head": "max(teacher?)", "epoch": "best"},
    }
    plan = fabricate.plan(tmp_path, grid=grid, readings=readings, seeds=[0], training={**TRAINING, "epochs": 3})
    heads = {"student": [50.0, 60.0, 55.0], "teacher0": [70.0, 60.0, 50.0], "teacher1": [50.0, 75.0, 50.0]}
    fabricate.run(tmp_path, plan.runs[0].config, heads)
    cells = build(plan, tmp_path).explanation("dkel").facts()["cells"]
    found = [(cell["runs"][0]["head"], cell["runs"][0]["epoch"], cell["runs"][0]["value"]) for cell in cells]
    assert found == [("student", "1", 60.0), ("teacher1", "1", 75.0), ("teacher0, teacher1", "1 to 2", 58.75)]
    assert "a single run has no standard deviation, interval or test." in cells[0]["steps"]


TRAINING = fabricate.RECIPE["training"]


@pytest.mark.parametrize("format", formats.available())
def test_every_format_writes_it(report: TableReport, format: str) -> None:
    content = report.explanation("cifar100 resnet8 dkel")  # two of three runs, one diverged
    printed = formats.get(format).write(content, formats.Screen())
    assert "diverged" in printed and "63" in printed


def test_a_collapse_rate_is_explained(tmp_path: Path) -> None:
    grid = {"dataset": ["cifar100"], "network": ["resnet8"], "method": ["dkel"]}
    protocol = {"default": {"head": "student", "epoch": "best", "statistic": "collapse-rate"}}
    plan = fabricate.plan(tmp_path, grid=grid, protocol=protocol)
    for run in plan.runs:
        fabricate.run(tmp_path, run.config, {"student": [1.0]})
    [cell] = build(plan, tmp_path).explanation("dkel").facts()["cells"]
    assert "rate: 0 of 3 runs collapsed: 0.0 percent; Wilson's 95% interval: 0.0 to 56.1." in cell["steps"]


def test_json_is_json(plan: Plan, tmp_path: Path) -> None:
    content = build(plan, tmp_path).explanation("cifar10 resnet8 pcl")
    facts = json.loads(formats.get("json").write(content, formats.Screen()))
    assert facts["schema"] == "okdbench.explanation/1" and len(facts["cells"][0]["runs"]) == 3

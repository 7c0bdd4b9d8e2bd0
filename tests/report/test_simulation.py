"""The report of a simulation: which claims hold under which variant, in every format."""

import csv
import io
import json
from pathlib import Path

import fabricate
import pytest
from markdown_it import MarkdownIt

from okdbench.files import write_json
from okdbench.plan import Selection, SimulationPlan, expand
from okdbench.recipe import load
from okdbench.report import build, formats, render
from okdbench.report.simulation import SimulationReport
from okdbench.studies.simulation import perform

RECIPE = """
title: A simulation
source: {paper: A paper, year: 2023, table: Figure 5}
kind: simulation
variants:
  plain: {trials: 200}
  mixed: {ensemble: convex, trials: 200}
  later: {b: 0.99}
claims:
  dk-better: DK is better
  dkel-faster: DKEL is faster
  dkel-smaller-gap: DKEL ends lower
figure: {variants: [mixed, plain, later]}
"""


@pytest.fixture
def plan(tmp_path: Path) -> SimulationPlan:
    """Three variants, of which two are simulated."""
    (tmp_path / "small.yaml").write_text(RECIPE)
    plan = expand(load(tmp_path / "small.yaml"))
    for run in plan.runs[:2]:
        record = perform(run.config, {"device": "cpu"}).model_dump(mode="json")
        write_json(tmp_path / "small" / run.config.folder / "record.json", record)
    return plan


@pytest.fixture
def report(plan: SimulationPlan, tmp_path: Path) -> SimulationReport:
    return build(plan, tmp_path)


def test_the_table_says_which_claims_hold(report: SimulationReport) -> None:
    lines = render([report], "text", 80).splitlines()
    rows = [line.split() for line in lines]
    assert ["Variant", "(1)", "(2)", "(3)", "hold", "converged"] in rows
    assert ["plain", "yes", "yes", "no", "2/3", "80,", "80,", "80"] in rows
    assert ["mixed", "yes", "no", "no", "1/3", "80,", "80,", "80"] in rows
    assert ["later", *["—"] * 5] in rows
    assert "(2) DKEL is faster." in lines
    assert "200 trials (seed 0)" in render([report], "text") and "not simulated yet" in render([report], "text")


def test_curves_are_given_at_a_few_epochs_in_the_order_of_the_methods(report: SimulationReport) -> None:
    rows = [line.split() for line in render([report], "text", 100).splitlines()]
    start = rows.index(["Variant", "Method", "1", "5", "10", "20", "40", "60", "90"])
    assert [row[:2] for row in rows[start + 2 : start + 5]] == [["plain", name] for name in ("PCL", "DK", "DKEL")]
    record = report.records[0]
    assert record and float(rows[start + 2][2]) == pytest.approx(record.curves["pcl"].mean[0], rel=0.005)
    assert float(rows[start + 2][3]) == pytest.approx(record.curves["pcl"].mean[4], rel=0.005)
    assert float(rows[start + 2][-1]) == pytest.approx(record.curves["pcl"].mean[-1], rel=0.005)
    chart = report.chart()
    assert chart and all(
        series.x == tuple(range(1, 91)) for row in chart.rows for plot in row for series in plot.series
    )


def test_variants_of_different_lengths_end_in_a_column_of_their_own_ends(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(RECIPE.replace("{b: 0.99}", "{epochs: 30, trials: 200}"))
    plan = expand(load(tmp_path / "small.yaml"))
    for run in plan.runs:
        record = perform(run.config, {"device": "cpu"}).model_dump(mode="json")
        write_json(tmp_path / "small" / run.config.folder / "record.json", record)
    [curves] = [each for each in build(plan, tmp_path).document().details if each.title == "Mean gap after an epoch"]
    assert curves.headings[-1] == "last"


def test_changed_settings_are_marked(plan: SimulationPlan, tmp_path: Path) -> None:
    changed = build(expand(plan.recipe, Selection(settings={"trials": 30})), tmp_path)
    assert "plain*" in render([changed], "text")
    assert "* changed settings, so not the recipe's own variant: trials=30." in render([changed], "text")


def test_markdown_is_two_tables_and_a_list(report: SimulationReport) -> None:
    html = MarkdownIt("commonmark").enable("table").render(render([report], "markdown"))
    assert html.count("<table>") == 2 and '<td style="text-align:left">2/3</td>' in html
    assert "<li>(1) DK is better.</li>" in html


def test_latex_leaves_the_curves_out(report: SimulationReport) -> None:
    printed = render([report], "latex")
    assert printed.count(r"\begin{tabular}") == 1 and r"plain & yes & yes & no & 2/3 & 80, 80, 80 \\" in printed
    assert printed.isascii()


def test_csv_has_a_row_for_each_reading_and_claim(report: SimulationReport) -> None:
    rows = list(csv.DictReader(io.StringIO(render([report], "csv"))))
    assert len(rows) == 12
    first = rows[0]
    assert (first["variant"], first["claim"], first["statement"], first["holds"]) == (
        "plain",
        "dk-better",
        "DK is better",
        "True",
    )
    assert first["finding"].startswith("DK is lower at 90 of 90 epochs")


def test_json_has_settings_claims_and_whole_curves(report: SimulationReport) -> None:
    (found,) = json.loads(render([report], "json"), parse_constant=pytest.fail)["reports"]
    assert found["claims"]["dk-better"] == "DK is better"
    plain, mixed = found["variants"]
    assert (mixed["variant"], mixed["settings"]["ensemble"]) == ("mixed", "convex")
    assert len(plain["curves"]["dkel"]["mean"]) == len(plain["curves"]["dkel"]["quantiles"]["0.25"]) == 90
    assert plain["curves"]["dkel"]["convergence_epoch"] == 80


@pytest.mark.parametrize("format", formats.available())
def test_tables_and_simulations_go_into_one_document(report: SimulationReport, format: str, tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    table = build(fabricate.plan(tmp_path / "table"), tmp_path / "none")
    both = render([table, report], format)
    assert ("ResNet-8" in both or "resnet8" in both) and "plain" in both  # a table has the title, data the name
    assert render([report], format) == render([report], format)
    assert report.checks() == []

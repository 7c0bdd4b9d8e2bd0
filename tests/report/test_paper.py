"""The style of a paper: ours alone, the methods in words, and works to cite."""

import json
import re
from pathlib import Path

import fabricate
import pytest

import okdbench
from okdbench.errors import UsageError
from okdbench.plan import Plan, Selection
from okdbench.recipe import load
from okdbench.report import build, render
from okdbench.report.paper import references
from okdbench.report.table import TableReport

ROOT = Path(okdbench.__file__).parent.parent
PAGES = ("text", "markdown", "latex", "html")


def words(report: TableReport) -> str:
    [paragraph] = report.paper().methods
    return paragraph


@pytest.mark.parametrize("format", PAGES)
def test_only_what_is_measured_is_shown(report: TableReport, format: str) -> None:
    printed = render([report], format, style="paper")
    assert "61.00" in printed and "60.00" not in printed, "ours, and not the paper's"
    assert "@misc{okdbench," in printed and "La_ter" not in printed.replace("\\", "")
    assert "✓" not in printed, "no verdicts"


def test_best_and_second_and_signs_are_explained(report: TableReport) -> None:
    document = report.paper()
    assert document.emphasis == "Best in bold, second underlined, for each data set and network."
    assert [panel.title for panel in document.tables[0].panels] == ["C|10", "CIFAR-100"]  # type: ignore[union-attr]
    assert document.legend == ("k/n: k of n runs are finished; diverged runs enter no mean.",)


def test_the_methods_say_how_the_numbers_were_made(plan: Plan, tmp_path: Path) -> None:
    for path in tmp_path.glob("small/*/record.json"):
        record = json.loads(path.read_text())
        record["environment"] = {
            "okdbench": "0.1.0",
            "git_commit": "0123456789abcdef",
            "torch": "2.13",
            "python": "3.11",
        }
        path.write_text(json.dumps(record))
    text = words(build(plan, tmp_path))
    for part in (
        "trained with okdbench 0.1.0, commit 012345678 [@okdbench], recipe small, after Table 1 of [@2023a].",
        "Training: 2 epochs of SGD with Nesterov momentum 0.9, weight decay 0.0005, batches of 128 images; "
        "learning rate 0.1, multiplied by 0.1 at epoch 1.",
        "top-1 accuracy on the test set in percent, mean ± sample standard deviation over 3 runs (seeds 0, 1, 2)",
        "Protocol of DKEL: best teacher, last epoch († head chosen on the test set).",
        "with PyTorch 2.13 and Python 3.11.",
    ):
        assert part in text


def test_settings_that_differ_say_where(tmp_path: Path) -> None:
    overrides = [{"when": {"method": "dkel"}, "set": {"training.epochs": 4}}, {"set": {"dkel.alpha": 0.2}}]
    plan = fabricate.plan(tmp_path, Selection(settings={"data.subset": 400}), overrides=overrides)
    for run in plan.runs:
        fabricate.run(tmp_path, run.config, {"student": [60.0 + run.seed] * run.config.epochs})
    text = words(build(plan, tmp_path))
    assert "Training (Baseline): 2 epochs" in text and "Training (DKEL): 4 epochs" in text
    assert "Images: trained on 400 images" in text and "DKEL (alpha=0.2)" in text
    assert "Against the recipe, these settings were changed: data.subset=400." in text


def test_differences_to_the_reference_are_tested(tmp_path: Path) -> None:
    table = {**fabricate.RECIPE["table"], "reference": "baseline"}
    plan = fabricate.plan(tmp_path, table=table)
    for run in plan.runs:
        gain = 5.0 + 0.1 * run.seed if run.config.method == "dkel" else 0.0
        fabricate.run(tmp_path, run.config, {"student": [60.0, 60 + run.seed + gain]})
    assert (
        "Differences to Baseline were tested by paired t-tests over seeds, corrected by Holm's method for the 2 tests "
        "shown: 2 of 2 are significant at 5%." in (words(build(plan, tmp_path)))
    )


def test_citations_become_commands_in_latex(report: TableReport) -> None:
    alone = render([report], "latex", style="paper")
    cited = set(re.findall(r"\\cite\{(.*?)\}", alone))
    assert cited == {"okdbench", "2023a"} == set(re.findall(r"@misc\{(.*?),", alone))
    assert r"\bibliography{small-references}" in alone and r"\begin{filecontents*}{small-references.bib}" in alone
    fragment = render([report], "latex", style="paper", fragment=True)
    assert "% @misc{okdbench," in fragment and "documentclass" not in fragment and "filecontents" not in fragment


def test_okdbench_is_cited_as_its_citation_file_says() -> None:
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    cff = dict(re.findall(r"^(title|version): (.*)", "\n".join(lines), re.M))
    [lines_of_entry] = references(load("fair-cifar100"))
    entry = "\n".join(lines_of_entry)
    assert cff["title"].strip('"') in entry.replace("{okdbench}:", "okdbench:")
    assert f"version {cff['version']}" in entry and "okdbench contributors" in entry


def test_every_head_is_no_table_for_a_paper(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out --protocol all"):
        build(plan, tmp_path, "all").paper()


def test_without_a_finished_run_it_says_so(plan: Plan, tmp_path: Path) -> None:
    report = build(plan, tmp_path / "nothing")
    for format in ("text", "markdown", "latex"):
        assert "No run of this selection is finished yet." in render([report], format, style="paper")


def test_quotation_marks_open_and_close_in_latex(report: TableReport) -> None:
    assert "{\\textquotedblleft}dkel{\\textquotedblright}" in render([report], "latex", style="paper")

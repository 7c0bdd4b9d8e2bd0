"""The verb around the report: which recipes, where to, and --check."""

import csv
import json
import re
import shlex
import shutil
import webbrowser
from html import unescape
from pathlib import Path

import pytest
import yaml
from commandline import Command
from fabricate import RECIPE, plan, run

from okdbench.plan import Selection, expand
from okdbench.recipe import load

REPORTED = {
    "metric": "accuracy",
    "cells": [{"dataset": "cifar100", "network": "resnet8", "method": "baseline", "mean": 71.0, "std": 0.2, "n": 3}],
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A recipe with one reported number."""
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, "reported": REPORTED}))
    return path


def measure(recipe: Path, *accuracies: float) -> None:
    """Finished runs of the cell with the reported number."""
    cell = next(cell for cell in expand(load(recipe)).cells if cell.reported)
    for planned, accuracy in zip(cell.runs, accuracies, strict=False):
        run(Path("results"), planned.config, {"student": [accuracy - 1, accuracy]})


def test_check_passes_where_every_number_is_reproduced(small: Path, okdbench: Command) -> None:
    measure(small, 70.9, 71.0, 71.2)
    status, out, err = okdbench("report", "small.yaml", "--check")
    assert status == 0 and "71.03 ± 0.15" in out and "71.00 ± 0.20" in out
    assert err == "check: 1 of 1 reported number reproduced\n"


@pytest.mark.parametrize("accuracies", [(60.0, 60.1, 60.2), (71.0, 71.0), ()])
def test_check_fails_where_one_is_lower_or_incomplete(
    accuracies: tuple[float, ...], small: Path, okdbench: Command
) -> None:
    measure(small, *accuracies)
    assert okdbench("report", "small.yaml").status == 0
    status, _, err = okdbench("report", "small.yaml", "--check")
    assert status == 1 and err.startswith("check: 0 of 1 reported number reproduced\n  small: cifar100 / resnet8 /")


def test_check_says_when_there_is_nothing_to_check(okdbench: Command) -> None:
    status, _, err = okdbench("report", "quickstart", "--check")
    assert status == 0 and err == "check: there is no reported number to compare with\n"


def test_check_needs_one_number_for_each_cell(okdbench: Command) -> None:
    assert okdbench("report", "quickstart", "--check", "--protocol", "all").status == 2


def test_formats_for_programs_are_whole_documents(small: Path, okdbench: Command) -> None:
    measure(small, 70.9, 71.0, 71.2)
    facts = json.loads(okdbench("report", "small.yaml", "--format", "json", "--check").out)
    assert facts["reports"][0]["cells"][0]["verdict"] == "reproduced"
    rows = list(csv.DictReader(okdbench("report", "small.yaml", "--format", "csv").out.splitlines()))
    assert rows[0]["n"] == "3"


def test_output_goes_to_a_file(small: Path, okdbench: Command) -> None:
    printed = okdbench("report", "small.yaml", "--format", "markdown").out
    status, out, _ = okdbench("report", "small.yaml", "--format", "markdown", "-o", "tables/small.md")
    assert status == 0 and out == "tables/small.md written\n"
    assert Path("tables/small.md").read_text() == printed


def test_styles_and_fragments_are_refused_where_they_mean_nothing(small: Path, okdbench: Command) -> None:
    measure(small, 70.9, 71.0, 71.2)
    out = okdbench("report", "small.yaml", "--style", "paper", "--fragment", "-o", "small.tex").out
    assert out == "small.tex written\n" and Path("small.tex").read_text().startswith("% \\usepackage{booktabs")
    for words in (("--fragment",), ("--fragment", "-o", "t.md"), ("--style", "paper", "-o", "t.csv")):
        status, _, err = okdbench("report", "small.yaml", *words)
        assert status == 2 and f"{words[0]}" in err and "latex" in err
    status, _, err = okdbench("report", "dkel-figure5", "--style", "paper")
    assert status == 2 and "--style paper: dkel-figure5 trains no networks" in err


def test_a_cell_is_explained(small: Path, okdbench: Command) -> None:
    measure(small, 70.9, 71.0, 71.2)
    status, out, _ = okdbench("report", "small.yaml", "--explain", "resnet8 Baseline")
    assert status == 0 and out.startswith("71.03 ± 0.15: CIFAR-100 / ResNet-8 / Baseline\n")
    assert "results/small/cifar100.resnet8.baseline.s0." in out and "verdict: " in out
    for words, told in (
        (
            ("small.yaml", "--explain", "pcl"),
            "no cell has that name; networks: resnet8, resnet32; methods: baseline, dkel",
        ),
        (("--explain", "dkel"), "--explain dkel: is for one recipe; name it"),
        (("small.yaml", "--explain", "dkel", "--protocol", "all"), "leave out --protocol all"),
        (("dkel-figure5", "--explain", "dkel"), "dkel-figure5 trains no networks"),
    ):
        status, _, err = okdbench("report", *words)
        assert status == 2 and told in err


def test_output_to_an_impossible_file_is_refused(small: Path, okdbench: Command) -> None:
    status, _, err = okdbench("report", "small.yaml", "-o", "small.yaml/table.md")
    assert status == 2 and "cannot be written" in err


def test_without_a_recipe_all_that_have_results_are_reported(okdbench: Command, tmp_path: Path, small: Path) -> None:
    measure(small, 70.9)
    [first, *_] = expand(load("quickstart")).runs
    made = run(Path("elsewhere"), first.config, {"student": [50.0]})
    (tmp_path / "results" / "quickstart").mkdir(parents=True)
    made.rename(tmp_path / "results" / "quickstart" / first.config.folder)
    status, out, err = okdbench("report")
    assert status == 0 and out.startswith("Quickstart: ") and "50.00" in out
    assert err.startswith("results/small: belongs to a recipe of your own")


def test_without_any_results_there_is_nothing_to_report(okdbench: Command) -> None:
    status, _, err = okdbench("report")
    assert status == 2 and "okdbench run quickstart" in err


def test_runs_with_changed_settings_are_named_with_a_command_that_shows_them(small: Path, okdbench: Command) -> None:
    settings = {"training.epochs": 1, "training.schedule": {"name": "cosine"}, "dkel.alpha": 0.3}
    for planned in expand(load(small), Selection(settings=settings)).runs:
        run(Path("results"), planned.config, {"student": [50.0], "teacher0": [51.0]})
    for verb in ("report", "status"):
        status, out, err = okdbench(verb, "small.yaml")
        [line] = [line for line in [*out.splitlines(), *err.splitlines()] if "changed settings; show with" in line]
        assert status == 0 and "12 runs with changed settings" in line
        command = shlex.split(line.partition("show with: ")[2])[1:]
        assert command[:4] == [verb, "small.yaml", "--epochs", "1"] and "dkel.alpha=0.3" in command
        shown = okdbench(*command)
        assert "50.00" in shown.out if verb == "report" else "12 finished" in shown.out
        assert "changed settings; show with" not in shown.out + shown.err


def test_runs_with_changed_settings_are_named_on_the_page_and_in_its_index(okdbench: Command) -> None:
    for name in ("quickstart", "small-cifar100"):
        for planned in expand(load(name), Selection(methods=("baseline",), settings={"training.epochs": 1})).runs[:1]:
            run(Path("results"), planned.config, {"student": [50.0]}, recipe=name)
    lines = [
        line.partition(": ")[2] for line in okdbench("report", "--format", "html", "-o", "all.html").err.splitlines()
    ]
    assert len(lines) == 2 and all(line.startswith("1 run with changed settings; show with: ") for line in lines)
    okdbench("report", "quickstart", "--format", "html", "-o", "one.html")
    pages = [unescape(re.sub("<.*?>", "", Path(name).read_text())) for name in ("all.html", "one.html")]
    assert [[page.count(line) for line in lines] for page in pages] == [
        [2, 2],
        [1, 0],
    ]  # index, title


def test_changed_settings_that_conflict_are_shown_apart(small: Path, okdbench: Command) -> None:
    for epochs, seeds in ((1, (0, 1)), (3, (0,))):
        for planned in expand(load(small), Selection(seeds=seeds, settings={"training.epochs": epochs})).runs:
            run(Path("results"), planned.config, {"student": [50.0] * epochs})
    lines = okdbench("report", "small.yaml").err.splitlines()
    assert [line.partition(" run")[0] for line in lines] == ["small: 8", "small: 4"]
    assert "--epochs 1" in lines[0] and "--epochs 3" in lines[1]


def test_a_smoke_report_reads_the_images_of_the_smoke_runs(small: Path, okdbench: Command) -> None:
    smoke = Selection(smoke=True, data_present=lambda name: name != "cifar100")
    for planned in expand(load(small), smoke).runs:
        run(Path("results"), planned.config, {"student": [12.5]})
    assert "12.50" in okdbench("report", "small.yaml", "--smoke", "--data", "elsewhere").out
    present = Selection(smoke=True)
    shutil.rmtree("results")
    for planned in expand(load(small), present).runs:
        run(Path("results"), planned.config, {"student": [12.5]})
    assert "12.50" in okdbench("report", "small.yaml", "--smoke", "--data", "elsewhere").out


def test_head_and_epoch_are_chosen_apart(small: Path, okdbench: Command) -> None:
    for planned in expand(load(small)).runs:
        run(Path("results"), planned.config, {"student": [60.0, 50.0], "peer0": [30.0, 40.0]}, deployed="peer0")
    for options, number in (
        (["--epoch", "best"], "60.00"),
        (["--epoch", "last"], "50.00"),
        (["--epoch", "last-2"], "55.00"),
        (["--head", "deployed"], "40.00"),
        (["--head", "mean(peer?)", "--epoch", "last-2"], "35.00"),
    ):
        out = okdbench("report", "small.yaml", *options).out
        assert number in out and (number == "60.00" or "60.00" not in out)
    facts = json.loads(okdbench("report", "small.yaml", "--epoch", "last", "--format", "json").out)
    assert facts["reports"][0]["protocol"] == "epoch last"
    assert facts["reports"][0]["cells"][0]["verdict"] == "other protocol"


@pytest.mark.parametrize(
    "options", [["--epoch", "lats"], ["--head", "("], ["--epoch", "last", "--protocol", "best"], ["--format", "latx"]]
)
def test_wrong_heads_epochs_and_formats_are_one_line(small: Path, okdbench: Command, options: list[str]) -> None:
    status, _, err = okdbench("report", "small.yaml", *options)
    assert status == 2 and err.count("error:") == 1


def test_endings_are_names_of_formats(small: Path, okdbench: Command) -> None:
    for ending, name in (("md", "markdown"), ("tex", "latex"), ("txt", "text")):
        assert okdbench("report", "small.yaml", "--format", ending) == okdbench(
            "report", "small.yaml", "--format", name
        )


def test_a_page_is_written_and_shown(okdbench: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: shown.append(address) or len(shown) == 1)
    monkeypatch.chdir(tmp_path)
    for planned in plan(tmp_path).runs:
        run(Path("results"), planned.config, {"student": [50.0, 60.0]})
    page = Path("results/small/report.html")
    for found in (True, False):
        status, out, err = okdbench("report", "small.yaml", "--open")
        assert status == 0 and out == "results/small/report.html written\n"
        assert ("no browser was found here" in err) is not found
        assert shown[-1] == page.resolve().as_uri() and page.read_text().startswith("<!doctype html>")
    status, _, err = okdbench("report", "small.yaml", "--open", "-o", "small.md")
    assert status == 2 and "--open shows a page; take --format html" in err

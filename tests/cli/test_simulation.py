"""A simulation goes through the same verbs as a table."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commandline import Command
from patience import PATIENCE

from okdbench.files import write_json
from okdbench.plan import Selection, expand
from okdbench.recipe import load
from okdbench.studies.simulation import perform

ROOT = Path(__file__).parent.parent.parent
SMALL = ("--set", "trials=50", "--set", "epochs=20")
RECIPE = """
title: Two variants
kind: simulation
variants: {plain: {}, mixed: {ensemble: convex}}
claims: {dk-better: DK is better}
figure: {variants: [plain, mixed]}
"""


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Calls ``okdbench WORDS...`` as a process in a folder that has ``mine.yaml``."""
    (tmp_path / "mine.yaml").write_text(RECIPE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OKDBENCH_RESULTS": "results", "COLUMNS": "100"}

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "okdbench", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE)

    return call


@pytest.mark.slow
def test_run_status_report_from_end_to_end(
    process: Callable[..., subprocess.CompletedProcess[str]], okdbench: Command, tmp_path: Path
) -> None:
    done = process("run", "mine.yaml", *SMALL, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 runs to simulate on cpu: 2 workers with ")
    assert "variant mixed: finished" in done.stdout and "2 runs: 2 finished\n" in done.stdout
    folders = sorted((tmp_path / "results" / "mine").iterdir())
    assert [folder.name.partition(".")[0] for folder in folders] == ["mixed", "plain"]
    before = (folders[0] / "record.json").read_bytes()
    assert json.loads((folders[0] / "config.json").read_text())["kind"] == "simulation"

    again = okdbench("run", "mine.yaml", *SMALL).out
    assert again.startswith("2 runs: 2 finished\n") and (folders[0] / "record.json").read_bytes() == before
    assert "2 runs in results/mine: 2 finished\n" in okdbench("status", "mine.yaml", *SMALL).out

    report = process("report", "mine.yaml", *SMALL)
    assert report.returncode == 0 and "plain*" in report.stdout and "(1) DK is better." in report.stdout
    assert report.stderr == "figure: results/mine/figure.svg\n"
    assert (tmp_path / "results" / "mine" / "figure.svg").stat().st_size > 10_000


def test_smoke_runs_one_small_reading(
    process: Callable[..., subprocess.CompletedProcess[str]], okdbench: Command
) -> None:
    done = process("run", "dkel-figure5", "--smoke")
    assert done.returncode == 0 and "1 run: 1 finished\n" in done.stdout
    assert done.stdout.endswith("table: python -m okdbench report dkel-figure5 --smoke\n")
    assert "recommended*" in okdbench("report", "dkel-figure5", "--smoke").out


def test_status_and_dry_run_name_the_variants(okdbench: Command) -> None:
    facts = json.loads(okdbench("status", "dkel-figure5", "--format", "json").out)
    assert facts["counts"] == {"pending": 14}
    assert facts["cells"][1]["variant"] == "convex-mix"
    out = okdbench("run", "dkel-figure5", "--dry-run").out
    assert "variant" in out.splitlines()[0] and "data set" not in out
    assert "14 runs: 14 pending; 14 to simulate" in out


def test_show_lists_variants_and_claims_but_knows_no_cost(okdbench: Command) -> None:
    out = okdbench("show", "dkel-figure5").out
    assert "closest-order: direction=unit, ensemble=convex, peer_mean=sum" in out
    assert "DKEL converges near epoch 60" in out
    facts = json.loads(okdbench("show", "dkel-figure5", "--resolved", "--format", "json").out)
    assert [cell["variant"] for cell in facts["cells"]] == list(load("dkel-figure5").variants)
    assert facts["resolved"][1]["settings"]["ensemble"] == "convex"
    status, _, err = okdbench("show", "dkel-figure5", "--cost")
    assert status == 2 and "dkel-figure5 trains none" in err


def test_a_copy_is_a_recipe_of_ones_own(okdbench: Command) -> None:
    assert okdbench("copy", "dkel-figure5", "mine.yaml").status == 0
    assert okdbench("validate", "mine.yaml").out == "ok  mine.yaml: 14 cells, 14 runs\n"


def test_options_of_a_training_are_refused(okdbench: Command) -> None:
    for words, message in (
        (("-m", "dkel"), "--method dkel: dkel-figure5 is a simulation, which has variants and no method"),
        (("--epochs", "3"), "--epochs 3: dkel-figure5 is a simulation; write --set epochs=3"),
        (("--subset", "9"), "--subset 9: dkel-figure5 is a simulation; it has no subset; leave the option out"),
        (("--set", "training.batch_size=3"), "--set training.batch_size=3: unknown key; choose from: alpha, b, "),
    ):
        status, _, err = okdbench("run", "dkel-figure5", *words)
        assert status == 2 and message in err


def test_a_figure_wants_one_recipe_that_has_one(okdbench: Command, tmp_path: Path) -> None:
    for words, message in (
        (("--figure", "a.svg"), "is for one recipe"),
        (("dkel-figure5", "--figure", "a.jpg"), "ends in .svg, .png or .pdf"),
        (("dkel-figure5", "--figure", "a.svg"), "has no figure, or no finished run"),
    ):
        status, _, err = okdbench("report", *words)
        assert status == 2 and message in err
    assert not (tmp_path / "a.svg").exists()


def test_a_folder_that_cannot_be_written_is_a_note_unless_the_file_was_named(okdbench: Command) -> None:
    [run] = expand(load("dkel-figure5"), Selection(smoke=True)).runs
    record = perform(run.config, {}).model_dump(mode="json")
    write_json(Path("results", "dkel-figure5", run.config.folder, "record.json"), record)
    Path("results", "dkel-figure5", "figure.svg").mkdir()
    status, out, err = okdbench("report", "dkel-figure5", "--smoke")
    assert status == 0 and "recommended*" in out
    assert err.startswith("figure: not drawn: results/dkel-figure5/figure.svg: cannot be written (")
    status, out, err = okdbench("report", "dkel-figure5", "--smoke", "--figure", "results/dkel-figure5/figure.svg")
    assert status == 2 and "is a folder" in err
    status, _, err = okdbench("report", "dkel-figure5", "--smoke", "--figures", "all", "--figure-format", "png")
    assert status == 0 and err.endswith("figure: all/dkel-figure5-figure.png: the recipe's own figure\n")
    assert Path("all/dkel-figure5-figure.png").stat().st_size > 10_000

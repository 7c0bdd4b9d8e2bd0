"""What others have written (titles, names, devices, reasons) is shown as text: it moves no cursor, turns no line and
executes nothing, in any format."""

import csv
import json
import re
from io import StringIO
from pathlib import Path

import fabricate
import pytest
from commandline import Command

from okdbench.recipe import load
from okdbench.report import formats

HIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
EVIL = "\x1b]0;owned\x07\x1b[2J\u202eevil\u2066\x9b31m"
FORMATS = formats.available()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe with a finished run of each method, and hidden characters wherever a text may have them."""
    changes = {
        "title": f"=A{EVIL}\n# table",
        "source": {"paper": f"P{EVIL}\n- x", "year": 2023, "table": EVIL, "authors": f"+{EVIL}", "url": EVIL},
        "notes": EVIL,
        "grid": {"dataset": ["cifar100"], "network": ["resnet8"], "method": ["baseline", "dkel"]},
        "table": {
            "rows": "network",
            "columns": "method",
            "names": {"resnet8": f"=1+1{EVIL}\nx | y", "dkel": f"@{EVIL}", "network": f"N{EVIL}"},
            "caption": f"C{EVIL}",
        },
    }
    plan = fabricate.plan(tmp_path, **changes)
    for number, run in enumerate(plan.runs):
        heads = {"student": [50.0, 60.0 + number]}
        folder = fabricate.run(tmp_path / "results", run.config, heads, "diverged" if number == 1 else "finished",
                               reason=f"because{EVIL}\nand more")  # fmt: skip
        path = folder / "record.json"
        record = json.loads(path.read_text())
        record["environment"] = {"okdbench": EVIL, "device": "cuda", "device_name": f"GPU{EVIL}", "backend": "eager",
                                 "precision": "float32", "algorithms": "deterministic", "python": EVIL}  # fmt: skip
        path.write_text(json.dumps(record))
    return tmp_path / "small.yaml"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("verb", [("report",), ("compare", "dkel", "baseline")], ids=lambda verb: verb[0])
def test_no_format_passes_hidden_characters_on(
    name: str, verb: tuple[str, ...], recipe: Path, okdbench: Command
) -> None:
    out = okdbench(verb[0], "small.yaml", *verb[1:], "--format", name).out
    assert out and not HIDDEN.search(out)


@pytest.mark.parametrize(
    "words",
    [("show",), ("show", "--resolved"), ("show", "--format", "json"), ("status",), ("status", "--format", "json"),
     ("run", "--dry-run"), ("report", "--protocol", "all")],
    ids=" ".join,
)  # fmt: skip
def test_no_verb_does(words: tuple[str, ...], recipe: Path, okdbench: Command) -> None:
    status, out, err = okdbench(words[0], "small.yaml", *words[1:])
    assert status in (0, 1) and out and not HIDDEN.search(out + err)


def test_json_says_what_is_there(recipe: Path, okdbench: Command) -> None:
    assert json.loads(okdbench("show", "small.yaml", "--format", "json").out)["title"] == load(recipe).title


def test_a_name_stays_in_its_cell(recipe: Path, okdbench: Command) -> None:
    lines = okdbench("report", "small.yaml", "--format", "markdown").out.splitlines()
    assert lines[0].startswith("### =A\\\\x1b") and lines[0].endswith("# table")
    assert [line for line in lines if "x \\| y" in line]
    table = [line for line in lines if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table[:3]}) == 1


def test_a_spreadsheet_executes_nothing(recipe: Path, okdbench: Command) -> None:
    rows = list(csv.reader(StringIO(okdbench("report", "small.yaml", "--format", "csv").out)))
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("=", "+", "@")) and not re.match(r"-(?![\d.])", cell), cell


@pytest.mark.parametrize("name", ["svg", "pdf", "png"])
def test_figures_are_drawn(name: str, recipe: Path, okdbench: Command, tmp_path: Path) -> None:
    status, _, err = okdbench("report", "small.yaml", "--figures", "figures", "--figure-format", name)
    assert status == 0, err
    for path in (tmp_path / "figures").glob("*.svg"):
        assert not HIDDEN.search(path.read_text())

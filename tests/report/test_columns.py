"""Every cell of every table is shown, whole words of it, however narrow the terminal is."""

from io import StringIO
from pathlib import Path

import fabricate
import pytest
from rich.console import Console

from okdbench.report import build, render
from okdbench.report.columns import column_parts, plain_tables
from okdbench.report.formats import Screen, get
from okdbench.report.model import Document, Listing

HEADINGS = ("Data set", "Method", "n", "95% interval", "vs Baseline", "95% interval", "paired p")
ROWS = [
    ("CIFAR-100", "L-MCL's exits, cross-entropy alone", "3", "7.84–9.89", "-0.07", "-1.61 to +1.47", "0.857"),
    ("Tiny ImageNet", "Layer-fusion (reconstruction)", "12", "70.10–71.00", "+0.10", "-0.01 to +0.21", "0.044"),
]


def shown(width: int, keys: int = 2) -> str:
    console = Console(file=StringIO(), width=width, highlight=False)
    for table in plain_tables("Cell by cell", HEADINGS, ROWS, keys, range(2, 7), width):
        console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 200])
def test_no_word_is_lost_or_broken_and_no_line_is_too_long(width: int) -> None:
    text = shown(width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    for words in (HEADINGS, *ROWS):
        assert set(" ".join(words).split()) <= set(text.replace(":", " ").split()) | {"interval"}
    assert text.count("0.044") == 1 and text.count("-1.61 to +1.47") == 1, "numbers stay in one line"


def test_parts_are_few_and_even_and_repeat_the_keys() -> None:
    assert column_parts([5, 5, 5], 1, 80) == [[0, 1, 2]]
    assert column_parts([10, 8, 8, 8, 8], 1, 30) == [[0, 1, 2], [0, 3, 4]]
    assert column_parts([10, 8], 1, 15) is None


@pytest.mark.parametrize("width", [60, 80, 100])
def test_reports_show_every_number(tmp_path: Path, width: int) -> None:
    plan = fabricate.plan(
        tmp_path,
        grid={"dataset": "cifar10", "network": "resnet8", "method": ["baseline", "dml", "kdcl", "one", "cl", "okddip"]},
        protocol={"default": {"head": "student", "epoch": "last"}},
        table={"rows": "network", "columns": "method", "reference": "baseline"},
    )
    for number, run in enumerate(plan.runs):
        fabricate.run(tmp_path, run.config, {"student": [50.0, 50 + number / 7]})
    report = build(plan, tmp_path)
    text = render([report], "text", width)
    assert max(map(len, text.splitlines())) <= width
    for row in report.rows():
        assert f"{row['mean']:.2f} ± {row['std']:.2f}" in text
        assert row["paired_p_value"] is None or f"{row['paired_p_value']:.3f}" in text or "<0.001" in text


class Wide:
    """A table whose words alone fill more than a line."""

    def documents(self) -> list[Document]:
        headings = ("Network", "Method", "Settings", "Recipe", "n", "Accuracy")
        row = ("ResNet-8", "DKEL", "layer-fusion.ramp_epochs=2", "fair-cifar100" * 2, "3", "9.36 ± 0.55")
        return [Document("Wide", "", "", (Listing("", headings, (row, row), 2, keys=2),), (), ())]


def test_a_table_says_which_columns_name_its_rows() -> None:
    text = get("text").write(Wide(), Screen(80))  # type: ignore[arg-type]
    assert text.count("ResNet-8  DKEL") == 2 * 2, "each row in both parts, none as a record of its own"
    assert "9.36 ± 0.55" in text and max(map(len, text.splitlines())) <= 80

"""The page on JSON says what is in every output."""

import re
from pathlib import Path

import pytest
from commandline import Command
from json_page import documented, require_documented
from pages import ROOT

RESULTS = ("--results", str(ROOT / "results"))
COMMANDS = {
    "okdbench.report/2": ("report", "quickstart", *RESULTS),
    "okdbench.explanation/1": ("report", "quickstart", "--explain", "dkel", *RESULTS),
    "okdbench.tables/1": ("report", "dkel-table1", "-d", "cifar100", "--compare", "pcl-table1", *RESULTS),
    "okdbench.leaderboard/1": ("leaderboard", "-d", "digits-8x8", *RESULTS),
    "okdbench.compare/1": ("compare", "quickstart", "dkel", "dml", *RESULTS),
    "okdbench.audit/1": ("audit", "dkel-table1"),
    "okdbench.list/1": ("list",),
    "okdbench.data/1": ("data", "list"),
    "okdbench.images/1": ("data", "verify", "digits"),
    "okdbench.validate/1": ("validate", "quickstart"),
    "okdbench.run/1": ("run", "quickstart", "-m", "baseline", "--dry-run"),
    "okdbench.status/1": ("status", "quickstart", *RESULTS),
    "okdbench.status-of-all/1": ("status", *RESULTS),
    "okdbench.show/1": ("show", "quickstart", "-m", "baseline", "--resolved", "--cost"),
    "okdbench.plan/1": ("plan", "quickstart", "--hours", "1", "-m", "baseline", *RESULTS),
}
ELSEWHERE = {
    "okdbench.bench/1": "test_bench",
    "okdbench.bench-recipe/1": "test_bench",
    "okdbench.doctor/1": "test_data_and_doctor",
    "okdbench.index/1": "test_results_index",
    "okdbench.operations/1": "test_bench",
    "okdbench.verification/1": "test_results_verify",
}
"""Outputs that another test makes anyway, and compares with the page."""


@pytest.mark.parametrize("schema", COMMANDS)
def test_the_page_names_every_key(schema: str, okdbench: Command) -> None:
    require_documented(okdbench(*COMMANDS[schema], "--format", "json").out, schema)


def test_every_output_on_the_page_is_compared_with_it() -> None:
    assert documented().keys() == COMMANDS.keys() | ELSEWHERE.keys()
    for schema, module in ELSEWHERE.items():
        text = (Path(__file__).parent / f"{module}.py").read_text()
        assert f'require_documented(out, "{schema}")' in text


def test_every_schema_of_the_program_is_on_the_page() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "okdbench").rglob("*.py"))
    assert set(re.findall(r'"(okdbench\.[\w-]+/\d+)"', sources)) == documented().keys()

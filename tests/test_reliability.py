"""The page on reliability says what the tests do, and each test that it names is there."""

import ast
from pathlib import Path

import pytest
import write_reliability as script
from faults import FAULTS, FUZZED, Fault

ROOT = Path(__file__).parent.parent


def test_the_page_is_current() -> None:
    text = script.PAGE.read_text()
    assert text == script.generated(text), "docs/reliability.md is stale: run make reliability"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what[:40])
def test_each_fault_has_its_test(fault: Fault) -> None:
    file, _, name = fault.test.partition("::")
    tree = ast.parse((ROOT / "tests" / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_number_of_examples_is_that_of_the_tests() -> None:
    assert f"EXAMPLES = {FUZZED}\n" in (ROOT / "tests" / "test_fuzz.py").read_text()

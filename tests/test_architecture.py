"""The rules of the house: which folder may import which, and what stays small."""

import ast
from pathlib import Path

import pytest

import okdbench.kinds

ROOT = Path(__file__).parent.parent / "okdbench"
ALLOWED = {
    "runs": set(),
    "networks": {"runs"},
    "data": {"runs"},
    "methods": {"networks", "runs"},
    "training": {"methods", "networks", "data", "runs"},
    "recipe": {"methods", "networks", "data", "runs"},
    "plan": {"recipe", "methods", "networks", "data", "runs"},
    "results": {"plan", "recipe", "runs"},
    "bench": {"results", "plan", "training", "recipe", "methods", "networks", "data", "runs"},
    "engines": {"results", "plan", "training", "recipe", "data", "runs"},
    "studies": {"results", "plan", "recipe", "runs"},
    "report": {"results", "plan", "recipe", "studies", "bench", "runs"},
}
KINDS = {f"okdbench.kinds.{name}" for name in okdbench.kinds.__all__}
FILES = sorted(ROOT.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    for name in imported(path):
        package, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if package == "okdbench" and folder in ALLOWED and other in {*ALLOWED, "cli"}:
            assert other == folder or other in ALLOWED[folder], f"{folder} must not import {name}"
        assert not name.startswith("okdbench.kinds.") or folder == "kinds" or name in KINDS, "only by name: kinds.get"
        assert package != "typer" or folder == "cli", "only cli imports typer"
        assert package != "rich" or folder in {"cli", "report"}, "only cli and report import rich"
        assert package != "torchvision" or path.name == "torchvision_shim.py", (
            "torchvision comes through okdbench.torchvision_shim"
        )


def test_files_and_functions_stay_small() -> None:
    for path in FILES:
        text = path.read_text()
        assert text.count("\n") <= 400, f"{path} is longer than 400 lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno <= 60, f"{path}: {node.name} is longer than 60 lines"


def compared_strings(path: Path) -> set[str]:
    """String constants that a file compares with something or matches on."""
    nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Compare | ast.match_case)]
    return {c.value for n in nodes for c in ast.walk(n) if isinstance(c, ast.Constant) and isinstance(c.value, str)}


def test_nothing_branches_on_a_method_name() -> None:
    from okdbench.methods import available

    for path in FILES:
        assert not compared_strings(path) & set(available()), f"{path} treats a method by its name"

"""The rules of the house: which folder may import which, and what stays small."""

import ast
import re
from pathlib import Path

import pytest

import okdbench.kinds

ROOT = Path(__file__).parent.parent / "okdbench"
DRAWING = (ROOT.parent / "docs" / "architecture.md").read_text()
ARROWS = [tuple(found) for found in re.findall(r"^  (\w+) --> (\w+)$", DRAWING, re.MULTILINE)]
FOLDERS = {name for arrow in ARROWS for name in arrow}
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


def reached(folder: str) -> set[str]:
    """The folders to which the drawing's arrows lead from one."""
    direct = {below for above, below in ARROWS if above == folder}
    return direct.union(*map(reached, direct))


def folders_imported(path: Path) -> set[str]:
    """The other folders of okdbench that a file imports."""
    own, names = path.relative_to(ROOT).parts[0], (name.split(".") for name in imported(path))
    return {name[1] for name in names if name[0] == "okdbench" and len(name) > 1} & FOLDERS - {own}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_arrows_of_the_drawing(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    if folder in FOLDERS:
        assert folders_imported(path) <= reached(folder), f"{path}: see docs/architecture.md"
    for name in imported(path):
        assert not name.startswith("okdbench.kinds.") or folder == "kinds" or name in KINDS, "only by name: kinds.get"
        assert not name.startswith("typer") or folder == "cli", "only cli imports typer"
        assert not name.startswith("rich") or folder in {"cli", "report"}, "only cli and report import rich"
        shim = path.name == "torchvision_shim.py"
        assert name.partition(".")[0] != "torchvision" or shim, "torchvision comes through okdbench.torchvision_shim"


def test_every_arrow_of_the_drawing_is_an_import_and_none_is_a_detour() -> None:
    used = {(p.relative_to(ROOT).parts[0], other) for p in FILES for other in folders_imported(p)}
    assert set(ARROWS) <= used
    for above, below in ARROWS:
        others = {name for start, name in ARROWS if start == above and name != below}
        assert not any(below in reached(name) for name in others), f"{above} --> {below} follows from the other arrows"


def test_every_folder_is_drawn_and_described() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"recipes"}
    assert folders == FOLDERS | {"kinds"}
    assert all(f"`okdbench/{folder}/`" in DRAWING for folder in folders)
    modules = {path.stem for path in ROOT.glob("[a-z]*.py")}
    assert all(f"`{module}`" in DRAWING for module in modules), "modules next to the folders"


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

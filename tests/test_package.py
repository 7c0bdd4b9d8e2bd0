"""What is published: a wheel that works without the checkout, and the file that says how to cite it."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import okdbench

ROOT = Path(__file__).parent.parent


def test_the_citation_file_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0" and cited["type"] == "software"
    assert {"message", "title", "authors"} <= set(cited)
    assert cited["version"] == okdbench.__version__
    assert cited["license"] == "Apache-2.0"


def test_every_extra_that_is_named_exists_and_brings_something() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert all(extras.values())
    files = [ROOT / "README.md", ROOT / "Makefile", *(ROOT / "docs").rglob("*.md"), *(ROOT / "okdbench").rglob("*.py")]
    code = "".join(path.read_text() for path in files)
    named = {*re.findall(r'needs_extra\(.*, "(\w+)"\)', code), *re.findall(r'of_extra\("(\w+)"', code)}
    lists = [*re.findall(r"okdbench\[([\w,]+)\]", code), *re.findall(r'"\.\[([\w,]+)\]"', code)]
    named |= {name for text in lists for name in text.split(",")}
    assert {"timm", "tensorboard", "mlflow", "ray", "docs", "dev"} <= named <= set(extras)


@pytest.mark.slow
def test_the_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.startswith("OKDBENCH_")}

    def do(*command: object) -> str:
        words = [str(word) for word in command]
        done = subprocess.run(words, cwd=empty, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    do(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT)
    [wheel] = tmp_path.glob("okdbench-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "okdbench/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    target = tmp_path / "site"
    do(*pip, "install", "--no-deps", "--no-index", "--target", target, wheel)
    environment["PYTHONPATH"] = str(target)
    run = (sys.executable, "-m", "okdbench")
    where = do(sys.executable, "-c", "import okdbench; print(okdbench.__file__)").strip()
    assert Path(where).is_relative_to(target)
    assert "run quickstart" in do(target / "bin" / "okdbench")
    assert "dkel-table1" in do(*run, "list", "recipes")
    assert "ok  dkel-table1: " in do(*run, "validate", "all")
    do(*run, "run", "quickstart", "--smoke", "--results", empty / "results")
    assert "ResNet-8" in do(*run, "report", "quickstart", "--smoke", "--results", empty / "results")
    do(*run, "report", "quickstart", "--smoke", "--results", empty / "results", "--format", "html", "-o", "page")
    assert "ResNet-8" in (empty / "page").read_text()

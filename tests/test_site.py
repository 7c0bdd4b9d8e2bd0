"""The documentation site: who teaches whom is drawn as the papers say, and every page and link is there."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "docs" / "site"))


def wiring(name: str) -> Any:
    from wiring import Wiring  # type: ignore[import-not-found]

    return Wiring(name)


def named(measured: Any, term: str) -> set[tuple[str, str]]:
    return {(measured.label(source), measured.label(learner)) for source, learner in measured.teaches.get(term, ())}


def test_dml_peers_teach_each_other() -> None:
    measured = wiring("dml")
    assert named(measured, "kl") == {("peer0", "peer1"), ("peer1", "peer0")}
    assert measured.feeds == measured.averages == set()
    assert all(measured.own_terms[path] == ["ce"] for path in measured.parts)


def test_kd_is_taught_by_a_frozen_teacher() -> None:
    measured = wiring("kd")
    assert named(measured, "kd") == {("teacher", "student")}
    assert "trained before, frozen" in measured.mermaid()


@pytest.mark.slow
def test_pcl_branches_learn_from_the_ensemble_and_the_averages_of_the_others() -> None:
    measured = wiring("pcl")
    assert named(measured, "pe") == {("ensemble", f"peer{i}") for i in range(3)}
    assert named(measured, "pm") == {(f"teacher{j}", f"peer{i}") for i in range(3) for j in range(3) if i != j}
    assert "student_ -. moving average .-> teacher_" in measured.mermaid()
    assert not named(measured, "ce_ensemble"), "what the branches feed is no teaching"


@pytest.mark.slow
def test_ffsd_leader_learns_from_the_fusion() -> None:
    measured = wiring("ffsd")
    assert named(measured, "kl_leader") == {("fusion", "leader")}
    assert not {edge for edges in measured.teaches.values() for edge in edges if measured.label(edge[0]) == "leader"}


@pytest.mark.slow
def test_the_site_builds_strictly() -> None:
    pytest.importorskip("zensical")
    command = [sys.executable, "docs/site/build.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    html = ROOT / ".site" / "html"
    page = (html / "methods" / "dkel.html").read_text()
    for part in ("flowchart TB", "All settings", "init_extra_step", "Recipes that train it", "Citation"):
        assert part in page, part
    papers = {path.stem: path.read_text() for path in (html / "papers").glob("*.html")}
    assert any("dkel-table1" in text and "Claims and the numbers they are about" in text for text in papers.values())
    assert "check_method" in (html / "api" / "extension-points.html").read_text()
    everything = "".join(path.read_text() for path in html.rglob("*.html"))
    assert not re.findall(
        r'<(?:script|img)[^>]* src="?https?:|<link [^>]*rel="?stylesheet"? [^>]*href="?https?:', everything
    )
    assert ("mermaid.min.js" in page) == (ROOT / ".tools" / "mermaid.min.js").exists()

"""Tables and figures in the documentation are what the published records give."""

from importlib.metadata import version
from pathlib import Path

import pytest
import write_published as script
from pages import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("page", script.PARTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_table_is_stale(page: Path) -> None:
    assert page.read_text() == script.generated(page), f"{page} is stale: run make published"


def test_figures_are_the_same_to_the_byte(tmp_path: Path) -> None:
    pinned = (ROOT / "constraints.txt").read_text().split()
    if f"matplotlib=={version('matplotlib')}" not in pinned:
        pytest.skip("drawn by another matplotlib")
    drawn = list(script.figures(tmp_path))
    assert {path.name for path in drawn} == {path.name for path in script.IMAGES.glob(f"{script.STUDY}-*")}
    for path in drawn:
        assert path.read_bytes() == (script.IMAGES / path.name).read_bytes(), "stale: run make published"

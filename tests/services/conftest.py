"""The grid, trained on this machine without a disturbance, for those who compare with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from services.grid import RECIPE, RUNS, STARTED, done, okdbench, records

from okdbench.engines import usable_cores


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with the recipe; what was started there and still runs when the test ends, is ended."""
    (tmp_path / "grid.yaml").write_text(RECIPE)
    yield tmp_path
    for process in STARTED:
        process.kill()
    STARTED.clear()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the grid, each run with one thread, several in turns."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "grid.yaml").write_text(RECIPE)
    words = ("--jobs", str(usable_cores()), "--jobs-per-device", "5", "--device", "cpu")
    done(okdbench("run", "grid.yaml", *words, folder=folder))
    assert len(records(folder / "results")) == RUNS
    return folder / "results"

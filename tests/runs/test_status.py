"""What status reads of a run's metrics: their end."""

from pathlib import Path

import fabricate
import pytest

from okdbench.runs.folder import METRICS, RunFolder
from okdbench.runs.status import read_status


@pytest.mark.parametrize("heads", [1, 100, 200])
@pytest.mark.parametrize("end", ["", '{"epoch": 3, "lr"', "\n"])
def test_the_last_whole_epoch_counts_whatever_its_length(tmp_path: Path, heads: int, end: str) -> None:
    [run, *_] = fabricate.plan(tmp_path).runs
    values = {f"peer{i}": [50.0, 60.0, 60.0 + i / 10] for i in range(heads)}
    folder = fabricate.run(tmp_path, run.config, values, status="interrupted")
    with (folder / METRICS).open("a") as file:
        file.write(end)
    found = read_status(RunFolder(folder))
    assert (found.state, found.epochs_done) == ("interrupted", 3)

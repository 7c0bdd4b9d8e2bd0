"""What is carried to the GPU machine: packages that it lacks, a CPU's losses in float64, the list of what will run."""

import tempfile
from pathlib import Path

import torch

from benchmarks.gpu_run.check import Trial, reference
from benchmarks.gpu_run.items import METHODS, REHEARSED, listed
from benchmarks.gpu_run.packages import LACKING, download
from okdbench.files import write_json


def prepare(folder: Path, rehearse: bool) -> None:
    """Fill the folder; a rehearsal downloads nothing and computes fewer methods."""
    folder.mkdir(parents=True, exist_ok=True)
    if not rehearse:
        print(f"carried: {', '.join(download(folder / 'wheels'))}")
    with tempfile.TemporaryDirectory() as data:
        trials = [Trial(name, Path(data)) for name in METHODS]
        trials = [Trial(name, Path(data), batch=4, passes=1) for name in REHEARSED] if rehearse else trials
        curves = {trial.method: reference(trial) for trial in trials}
    shape = {"batch": trials[0].batch, "passes": trials[0].passes}
    write_json(folder / "curves.json", {"torch": torch.__version__, **shape, "methods": curves})
    (folder / "items.txt").write_text(listed())
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    print(f"{listed()}assumed to be there: all packages of pyproject.toml but {', '.join(LACKING)} and what they need")
    print(f"{folder}: {size:.1f} MiB")

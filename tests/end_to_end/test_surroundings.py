"""Machines as they are: full and read-only disks, variables of a cluster, others' files in the current folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_input import RECIPE
from endings import assert_same
from patience import PATIENCE

from okdbench.runs.launch import worker_environment

ROOT = Path(__file__).parents[2]
CLUSTER = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "10.255.255.1", "MASTER_PORT": "29500"}


def okdbench(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a folder with a small recipe; ``-P`` as the installed program has it."""
    recipe = RECIPE.replace("[baseline, dml]", "baseline") + "data: {subset: 64, test_subset: 64}\n"
    (folder / "mine.yaml").write_text(recipe.replace("epochs: 1", "epochs: 3"))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OKDBENCH_")}
    ours = {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder)}
    return subprocess.run(
        [sys.executable, "-P", "-m", "okdbench", *words], cwd=folder, env={**inherited, **ours, **environment},
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own for results, with room for a configuration but not for weights."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", place], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def test_workers_inherit_nothing_of_a_launcher_and_import_nothing_from_here() -> None:
    found = worker_environment({**CLUSTER, "PYTHONPATH": ":/mine", "TORCHELASTIC_RUN_ID": "1", "HOME": "/home/me"})
    assert found == {"PYTHONPATH": "/mine", "PYTHONSAFEPATH": "1", "HOME": "/home/me"}


@pytest.mark.slow
def test_a_clusters_variables_other_files_and_forced_colours_change_nothing(tmp_path: Path) -> None:
    for name in ("random.py", "json.py", "torch.py"):
        (tmp_path / name).write_text("raise SystemExit('the user's own file was imported')\n")
    done = okdbench(tmp_path, "run", "mine.yaml", FORCE_COLOR="1", **CLUSTER)
    assert done.returncode == 0, done.stderr
    assert "1 run: 1 finished" in done.stdout and "\x1b[?25l" not in done.stdout


@pytest.mark.slow
def test_a_full_disk_is_named_nothing_is_lost_and_the_run_continues(disk: Path, tmp_path: Path) -> None:
    assert okdbench(tmp_path, "run", "mine.yaml", "--results", "whole").returncode == 0
    full = okdbench(tmp_path, "run", "mine.yaml", "--results", str(disk))
    assert full.returncode == 1 and "disk full: " in full.stdout and "Traceback" not in full.stdout + full.stderr
    status = okdbench(tmp_path, "status", "mine.yaml", "--results", str(disk))
    assert status.returncode == 0 and "failed" in status.stdout
    remount(disk, "size=20m")
    assert okdbench(tmp_path, "run", "mine.yaml", "--results", str(disk)).returncode == 0
    [whole], [ours] = tmp_path.glob("whole/mine/digits.*"), disk.glob("mine/digits.*")
    assert_same(whole, ours)


@pytest.mark.slow
def test_a_read_only_disk_can_be_read_and_is_named_when_written(disk: Path, tmp_path: Path) -> None:
    remount(disk, "size=20m")
    results = ("--results", str(disk))
    assert okdbench(tmp_path, "run", "mine.yaml", *results).returncode == 0
    remount(disk, "ro")
    for verb, said in (("status", "1 finished"), ("report", "Baseline"), ("run", "1 run: 1 finished")):
        done = okdbench(tmp_path, verb, "mine.yaml", *results)
        assert done.returncode == 0 and said in done.stdout, done.stderr
    for words in (("run", "mine.yaml", "--force"), ("run", "mine.yaml", "--epochs", "1")):
        done = okdbench(tmp_path, *words, *results)
        said = done.stdout + done.stderr
        assert done.returncode in (1, 2) and "Read-only file system" in said and "Traceback" not in said, said

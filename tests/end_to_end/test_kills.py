"""SIGKILL at random moments, like a power cut: the same command goes on and ends with the same bits."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from bad_input import RECIPE
from endings import assert_same

KILLS = int(os.environ.get("KILLS", "6"))
"""How many; docs/reliability.md tells of 50."""
ROOT = Path(__file__).parents[2]
OFTEN = "from okdbench.training import checkpoint\ncheckpoint.INTERVAL = 0.0\n"
"""A plugin, so that workers write a checkpoint after every epoch."""
FILES = ("record.json", "weights.pt", "checkpoint-*.pt", "metrics.jsonl", "config.json", ".*.tmp")


def start(folder: Path, results: str, force: bool = False) -> subprocess.Popen[bytes]:
    words = ["--plugin", "often.py", "run", "mine.yaml", "--results", results, *(["--force"] if force else [])]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OKDBENCH_")}
    environment |= {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "okdbench", *words], cwd=folder, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def descendants(parent: int) -> list[int]:
    """All processes that a process has started, directly or not."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    found = [int(number) for number in children.read_text().split()] if children.exists() else []
    return found + [each for child in found for each in descendants(child)]


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and its workers at once, the program first."""
    for number in (process.pid, *descendants(process.pid)):
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


@pytest.mark.slow
def test_runs_killed_at_random_moments_end_with_the_same_bits(tmp_path: Path) -> None:
    text = RECIPE.replace("epochs: 1", "epochs: 12").replace("[baseline, dml]", "baseline")
    (tmp_path / "mine.yaml").write_text(text + "data: {subset: 192, test_subset: 64}\n")
    (tmp_path / "often.py").write_text(OFTEN)
    assert start(tmp_path, "packing").wait() == 0
    began = time.monotonic()
    assert start(tmp_path, "whole").wait() == 0
    usual = time.monotonic() - began
    [whole] = (tmp_path / "whole" / "mine").glob("digits.*")
    draws, left, seen, ended = random.Random(0), KILLS, Counter[str](), 0
    killed = tmp_path / "killed" / "mine" / whole.name
    while left:
        process = start(tmp_path, "killed", force=killed.joinpath("record.json").exists())
        deadline = time.monotonic() + usual * draws.uniform(0.3, 1.1)
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.002)
        if process.poll() is None:
            left -= 1
            seen.update(name for name in FILES if list(killed.glob(name)))
            kill(process)
            continue
        assert process.returncode == 0
        assert_same(whole, killed)
        ended += 1
    assert start(tmp_path, "killed").wait() == 0
    assert_same(whole, killed)
    assert not [*killed.glob(".*"), *killed.glob("attempt.json")]
    print(f"\n{KILLS} kills in a command of {usual:.1f} s, {ended + 1} ends compared; files there: {dict(seen)}")

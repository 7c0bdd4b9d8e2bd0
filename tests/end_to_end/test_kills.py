"""SIGKILL at random moments, like a power cut: the same work goes on and ends with the same bits."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from bad_input import RECIPE
from endings import assert_same

from okdbench import worker
from okdbench.plan import expand
from okdbench.plan.jobs import archive, plan_jobs
from okdbench.recipe import load
from okdbench.training import checkpoint

KILLS = int(os.environ.get("KILLS", "10"))
FILES = ("record.json", "weights.pt", "checkpoint-*.pt", "metrics.jsonl", "config.json", ".*.tmp")


def start(folder: Path, results: str, force: bool) -> int:
    """Do in a process of its own what `run` and its worker do; with ``force`` what `run --force` does."""
    if child := os.fork():
        return child
    try:
        checkpoint.INTERVAL = 0.0  # a checkpoint after every epoch
        planned = plan_jobs(expand(load(folder / "mine.yaml")), folder / results, force)
        list(archive(planned))
        [job] = [each.job for each in planned]
        job.folder.write_config(job.config)
        with (folder / "output.txt").open("ab") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        os._exit(worker.main([str(job.folder), "--data", str(folder / "data"), "--threads=1"]))
    finally:
        os._exit(99)


def wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.mark.slow
def test_runs_killed_at_random_moments_end_with_the_same_bits(tmp_path: Path) -> None:
    text = RECIPE.replace("epochs: 1", "epochs: 6").replace("[baseline, dml]", "baseline")
    (tmp_path / "mine.yaml").write_text(text + "data: {subset: 96, test_subset: 32}\n")
    assert wait(start(tmp_path, "packing", False)) == 0
    began = time.monotonic()
    assert wait(start(tmp_path, "whole", False)) == 0
    usual = time.monotonic() - began
    [whole] = (tmp_path / "whole" / "mine").glob("digits.*")
    draws, left, seen, ended = random.Random(0), KILLS, Counter[str](), 0
    killed = tmp_path / "killed" / "mine" / whole.name
    while left:
        process = start(tmp_path, "killed", force=killed.joinpath("record.json").exists())
        deadline = time.monotonic() + usual * draws.uniform(0.2, 1.2)
        while time.monotonic() < deadline and not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            time.sleep(0.002)
        if not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            left -= 1
            seen.update(name for name in FILES if list(killed.glob(name)))
            os.kill(process, signal.SIGKILL)
            wait(process)
            continue
        assert wait(process) == 0
        assert_same(whole, killed)
        ended += 1
    assert wait(start(tmp_path, "killed", False)) == 0
    assert_same(whole, killed)
    assert not [*killed.glob(".*"), *killed.glob("attempt.json")]
    print(f"\n{KILLS} kills in work of {usual:.1f} s, {ended + 1} ends compared; files there: {dict(seen)}")

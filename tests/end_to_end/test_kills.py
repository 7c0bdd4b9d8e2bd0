"""SIGKILL, like a power cut, at random moments and before chosen changes to files: the same work ends the same.

``KILLS`` in the environment is how many kills there are of each kind, 10 unless it says otherwise.
"""

import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import fabricate
import pytest
from bad_input import RECIPE
from endings import assert_same

from okdbench import shelf, worker
from okdbench.cli import main
from okdbench.plan import expand
from okdbench.plan.jobs import archive, plan_jobs
from okdbench.recipe import load
from okdbench.runs import lease, reuse
from okdbench.runs.records import Heartbeat
from okdbench.training import checkpoint

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("KILLS", "10"))
FILES = ("record.json", "weights.pt", "checkpoint-*.pt", "metrics.jsonl", "config.json", ".*.tmp")
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.link", "sqlite3.connect"}
STALE = 0.3
"""Seconds without a heartbeat after which a lease is dead here."""


def start(work: Callable[[], object], *places: Path, kill_before: int | None = None) -> int:
    """Do the work in a process of its own, whose number is returned. It ends with 0 if the work raises nothing.

    It is killed before the change to files below ``places`` of that number; their count goes to a file ``changes``.
    """
    if child := os.fork():
        return child
    changes = itertools.count()

    def watch(event: str, details: tuple[object, ...]) -> None:
        writes = event == "open" and int(details[2]) & (os.O_WRONLY | os.O_RDWR)  # type: ignore[call-overload]
        here = (writes or event in CHANGES) and any(str(details[0]).startswith(f"{place}/") for place in places)
        if here and next(changes) == kill_before:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(watch)
        for name in ("output.txt", "changes"):
            (places[0].parent / name).touch()
        with (places[0].parent / "output.txt").open("ab") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        work()
        (places[0].parent / "changes").write_text(str(next(changes)))
        os._exit(0)
    finally:
        os._exit(99)


def train(folder: Path, results: Path, force: bool) -> None:
    """Do what `run` and its worker do; with ``force`` what `run --force` does."""
    checkpoint.INTERVAL = 0.0  # a checkpoint after every epoch
    lease.EXPIRY = reuse.EXPIRY = STALE
    planned = plan_jobs(expand(load(folder / "mine.yaml")), results, force)
    list(archive(planned))
    [job] = [each.job for each in planned]
    job.folder.write_config(job.config)
    assert worker.main([str(job.folder), "--data", str(folder / "data"), "--threads=1"]) == 0


def wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def has_ended(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def plant_lease(folder: Path) -> None:
    """Put a lease there of a process that has died on another machine."""
    numbers = [int(path.suffix[1:]) for path in folder.glob("lease.*")]
    beat = Heartbeat(host="far", machine="another", pid=1, since=time.time(), decided=True)
    (folder / f"lease.{max(numbers, default=0) + 1}").write_text(beat.model_dump_json())


@pytest.mark.parametrize("when", ["at random moments", "before changes to files"])
def test_killed_runs_end_with_the_same_bits(when: str, tmp_path: Path) -> None:
    text = RECIPE.replace("epochs: 1", "epochs: 6").replace("[baseline, dml]", "baseline")
    (tmp_path / "mine.yaml").write_text(text + "data: {subset: 96, test_subset: 32}\n")
    places = [tmp_path / name for name in ("packing", "whole", "killed")]
    for place in places[:2]:
        began = time.monotonic()
        assert wait(start(lambda place=place: train(tmp_path, place, False), place)) == 0
        usual = time.monotonic() - began
    changes = int((tmp_path / "changes").read_text())
    [whole] = (tmp_path / "whole" / "mine").glob("digits.*")
    draws, seen, left, ended = random.Random(0), Counter[str](), KILLS, 0
    results = tmp_path / "killed"
    killed = results / "mine" / whole.name
    while left:
        done = killed.joinpath("record.json").exists()
        force = done or draws.random() < 0.2
        if killed.exists() and draws.random() < 0.4:
            plant_lease(killed)
            seen["stale lease"] += 1
        seen["--force"] += force
        before = draws.randrange(changes) if when == "before changes to files" else None
        process = start(lambda force=force: train(tmp_path, results, force), results, kill_before=before)
        deadline = time.monotonic() + (60 if before else usual * draws.uniform(0.2, 1.2))
        while time.monotonic() < deadline and not has_ended(process):
            time.sleep(0.002)
        if not has_ended(process):
            os.kill(process, signal.SIGKILL)
        if (status := wait(process)) == -signal.SIGKILL:
            left -= 1
            seen.update(name for name in FILES if list(killed.glob(name)))
            continue
        assert status == 0, (tmp_path / "output.txt").read_text()
        assert_same(whole, killed)
        ended += 1
    assert wait(start(lambda: train(tmp_path, results, False), results)) == 0
    assert_same(whole, killed)
    assert not [*killed.glob(".*"), *killed.glob("attempt.json")]
    for replaced in (results / "mine").glob("replaced/*"):
        assert list(replaced.iterdir()), "nothing was there to be moved away"
    print(f"\n{KILLS} kills in work of {usual:.1f} s, {ended + 1} ends compared; seen: {dict(seen)}")


def test_reports_killed_while_they_keep_what_they_have_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = fabricate.plan(tmp_path)
    results, cache = tmp_path / "results", tmp_path / "cache"
    fabricate.table(results, plan, epochs=3)
    for path in results.rglob("*.json*"):
        os.utime(path, (1e9, 1e9))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(shelf, "WORTH_KEEPING", 1)

    def show() -> None:
        for words in (["status"], ["report", "-o", str(tmp_path / "report.json"), "--format", "json"]):
            monkeypatch.setattr(sys, "argv", ["okdbench", words[0], str(tmp_path / "small.yaml"), *words[1:]])
            monkeypatch.setenv("OKDBENCH_RESULTS", str(results))
            with pytest.raises(SystemExit) as end:
                main()
            assert not end.value.code

    def shown() -> dict:
        content = json.loads((tmp_path / "report.json").read_text())
        (tmp_path / "report.json").unlink()
        return content

    assert wait(start(show, cache)) == 0, (tmp_path / "output.txt").read_text()
    whole, changes = shown(), int((tmp_path / "changes").read_text())
    assert list(cache.rglob("*.sqlite")) and changes > 3
    draws = random.Random(0)
    for _ in range(KILLS):
        for path in cache.rglob("*.sqlite"):
            path.unlink()
        assert wait(start(show, cache, kill_before=draws.randrange(changes - 2))) in (0, -signal.SIGKILL)
        assert wait(start(show, cache)) == 0, (tmp_path / "output.txt").read_text()
        assert shown() == whole
        assert list(cache.rglob("*.sqlite")) and not list(cache.rglob("*.tmp"))

"""Leases: one holder at a time, dead ones found, whatever the clocks say."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from okdbench.runs import lease as leases
from okdbench.runs.folder import RunFolder
from okdbench.runs.lease import Lease, LeaseLost, LeaseWatch, clear, held, holder, newest, take
from okdbench.runs.records import Heartbeat, State


@pytest.fixture
def taken() -> Iterator[Callable[[Path], Lease]]:
    """Takes a lease that is free; released when the test ends."""
    found = []

    def now(folder: Path) -> Lease:
        lease = take(folder)
        assert lease
        found.append(lease)
        return lease

    yield now
    for lease in found:
        lease.release()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat every 20 ms, dead after 200 ms."""
    monkeypatch.setattr(leases, "INTERVAL", 0.02)
    monkeypatch.setattr(leases, "EXPIRY", 0.2)


def foreign(folder: Path, number: int = 1, **changes: object) -> Path:
    """A lease of a process of another machine."""
    path = folder / f"lease.{number}"
    beat = Heartbeat(host="far", machine="another", pid=os.getpid(), since=time.time())
    path.write_text(beat.model_copy(update=changes).model_dump_json())
    return path


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")], ids=["d", "p", "l"])
def test_what_is_no_file_is_nobodys_lease(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "lease.1")
    began = time.monotonic()
    assert holder(tmp_path) is None and RunFolder(tmp_path).state is State.pending
    for number in (2, 3):
        with held(tmp_path) as lease:
            assert lease and newest(tmp_path)[0] == number
    assert time.monotonic() - began < 5


def test_one_process_at_a_time_has_a_lease(tmp_path: Path) -> None:
    with held(tmp_path) as first, held(tmp_path) as second:
        assert first and not second
        found = holder(tmp_path)
        assert found and found.host == os.uname().nodename and found.silent < 10
    assert holder(tmp_path) is None
    with held(tmp_path) as third:
        assert third


def test_no_more_than_two_files_are_kept(tmp_path: Path) -> None:
    for _ in range(5):
        with held(tmp_path) as lease:
            assert lease
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lease.4", "lease.5"]


def test_a_folder_that_is_not_there_has_no_lease_and_gets_none(tmp_path: Path) -> None:
    assert holder(tmp_path / "no") is None and take(tmp_path / "no") is None
    assert not (tmp_path / "no").exists()


def test_the_lease_of_a_process_that_died_is_free_at_once(tmp_path: Path) -> None:
    code = f"from okdbench.runs.lease import take; import pathlib, time; take(pathlib.Path({str(tmp_path)!r})); "
    process = subprocess.Popen(
        [sys.executable, "-c", code + "print(flush=True); time.sleep(60)"], stdout=subprocess.PIPE
    )
    assert process.stdout and process.stdout.readline() and take(tmp_path) is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert holder(tmp_path) is None
    with held(tmp_path) as lease:
        assert lease and newest(tmp_path)[0] == 2


def test_another_process_with_the_number_of_a_dead_one_is_not_it(tmp_path: Path) -> None:
    beat = Heartbeat.of_this_process().model_copy(update={"start": "another time"})
    (tmp_path / "lease.1").write_text(beat.model_dump_json())
    assert holder(tmp_path) is None


def test_a_holder_on_another_machine_is_judged_by_its_heartbeats(tmp_path: Path, quick: None) -> None:
    path = foreign(tmp_path)
    os.utime(path, (0, 0))  # whatever the time is there
    watch = LeaseWatch(tmp_path)
    began = time.monotonic()
    for number in range(20):
        foreign(tmp_path, number=1, since=1e12 + number)
        watch.look()
        assert watch.silent < 0.2 and watch.take() is None
        time.sleep(0.02)
    assert time.monotonic() - began > 0.4
    with held(tmp_path) as lease:
        assert not lease, "one look is not enough"
    lease = take(tmp_path)
    assert lease and newest(tmp_path)[0] == 2
    lease.release()


def test_one_that_gives_a_sign_is_not_waited_for(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "EXPIRY", 60.0)
    foreign(tmp_path)
    monkeypatch.setattr(time, "sleep", lambda seconds: foreign(tmp_path, since=2.0))
    assert take(tmp_path) is None


def test_a_wait_ends_when_asked_to(tmp_path: Path) -> None:
    foreign(tmp_path)
    answers = iter([False, True])
    assert take(tmp_path, stop=lambda: next(answers)) is None


def test_a_lease_that_is_just_being_made_is_held(tmp_path: Path, quick: None) -> None:
    (tmp_path / "lease.1").touch()
    found = holder(tmp_path)
    assert found and found.host == "another machine"
    lease = take(tmp_path)  # made by a process that died then
    assert lease
    lease.release()


def contend(folder: Path, wins: Path, barrier: "multiprocessing.synchronize.Barrier") -> None:
    """Try to take a dead lease at the same time as others; the winner notes its number and keeps the lease."""
    leases.EXPIRY = 0.3
    watch = LeaseWatch(folder)
    time.sleep(0.5)
    barrier.wait()
    if watch.take():
        (wins / str(os.getpid())).touch()
    barrier.wait()


def test_of_many_that_see_a_dead_lease_one_gets_it(tmp_path: Path) -> None:
    wins, context = tmp_path / "wins", multiprocessing.get_context("fork")
    wins.mkdir()
    for attempt in range(2):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        foreign(folder, number=7)
        barrier = context.Barrier(8)
        processes = [context.Process(target=contend, args=(folder, wins, barrier)) for _ in range(8)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(30)
        assert len(list(wins.iterdir())) == attempt + 1
        assert newest(folder)[0] == 8


def test_who_looked_before_others_took_and_released_gets_nothing(tmp_path: Path, quick: None) -> None:
    foreign(tmp_path)
    late = LeaseWatch(tmp_path)
    time.sleep(0.3)
    for _ in range(3):
        watch = LeaseWatch(tmp_path)
        time.sleep(0.3)
        lease = watch.take()
        assert lease
        lease.release()
    assert late.take() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lease.3", "lease.4"]


def test_one_that_stood_still_finds_out_before_it_goes_on(
    tmp_path: Path, taken: Callable[[Path], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = taken(tmp_path)
    mine.require()
    foreign(tmp_path, number=2)
    mine.require()  # nothing has happened to it
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 40)
    with pytest.raises(LeaseLost, match="another process has taken over"):
        mine.require()
    assert json.loads((tmp_path / "lease.2").read_text())["host"] == "far"


def test_who_has_lost_a_lease_does_not_release_that_of_another(tmp_path: Path) -> None:
    mine = take(tmp_path)
    assert mine
    foreign(tmp_path, number=2)
    mine.release()
    assert holder(tmp_path)


def test_a_folder_moved_away_takes_its_lease_along(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    mine = take(folder)
    assert mine
    folder.rename(tmp_path / "moved")
    folder.mkdir()
    with pytest.raises(LeaseLost):
        mine.require(at_once=True)
    mine.release()
    assert not list(folder.iterdir())


def test_heartbeats_say_how_long_a_run_has_not_advanced(tmp_path: Path, quick: None) -> None:
    lease = take(tmp_path)
    assert lease
    time.sleep(0.3)
    before = newest(tmp_path)[1]
    lease.progressed()
    time.sleep(0.1)
    after = newest(tmp_path)[1]
    lease.release()
    assert before and after and before.idle > after.idle
    assert after.number > before.number and before.idle > 0.2


def test_a_run_that_does_not_advance_counts_as_stalled(tmp_path: Path) -> None:
    path = foreign(tmp_path, idle=290.0)
    assert RunFolder(tmp_path).state is State.running
    os.utime(path, (time.time() - 20, time.time() - 20))
    assert RunFolder(tmp_path).state is State.stalled and RunFolder(tmp_path).state.under_way


def test_a_dead_lease_can_be_cleared_for_all(tmp_path: Path, quick: None) -> None:
    foreign(tmp_path)
    watch = LeaseWatch(tmp_path)
    clear(watch)
    assert holder(tmp_path)
    time.sleep(0.3)
    clear(watch)
    assert holder(tmp_path) is None

"""The local engine with a stub worker: real processes, real signals, no training."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from commandline import STUB
from stub_jobs import ends, job, notes, submit_to

from okdbench.config import RunConfig
from okdbench.engines import (
    Advanced,
    Ended,
    Event,
    Job,
    LocalEngine,
    Patience,
    Restarting,
    Started,
    Stopping,
    usable_cores,
)
from okdbench.errors import UsageError
from okdbench.files import write_json
from okdbench.plan.jobs import find_device, find_devices
from okdbench.runs.execution import Execution
from okdbench.runs.folder import RunFolder
from okdbench.runs.lease import Lease, take
from okdbench.runs.records import State

AT_ONCE = Patience(pause=0)


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """No test hangs: a lost worker ends it."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(30)
    yield
    signal.alarm(0)


def submit(
    jobs: list[Job],
    parallel: int = 1,
    on_event: Callable[[Event], None] = lambda event: None,
    devices: Sequence[str] = ("cpu",),
) -> list[Event]:
    engine = LocalEngine(Path("images"), devices, parallel, command=STUB, poll=0.02, patience=AT_ONCE)
    return submit_to(engine, jobs, on_event)


def interrupt_ourselves() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_each_job_is_told_to_start_advance_and_end(tmp_path: Path) -> None:
    one = job(tmp_path)
    events = submit([one])
    assert isinstance(events[0], Started) and not events[0].elsewhere
    advanced = [event.snapshot for event in events if isinstance(event, Advanced)]
    assert (advanced[-1].epoch, advanced[-1].accuracy, advanced[-1].position) == (2, 55.5, 2.5)
    assert events[-1] == Ended(one, State.finished)


def test_the_worker_gets_the_configuration_the_options_and_the_log(tmp_path: Path) -> None:
    one = job(tmp_path)
    submit([one])
    assert RunConfig.model_validate_json((one.folder.path / "config.json").read_text()) == one.config
    options = ["--data=images", "--device=cpu", f"--threads={usable_cores()}", "--stall-timeout=1800.0"]
    assert notes(one)["options"] == options
    assert one.folder.log.read_text() == "stub at work\n"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, rf"cpu: 1 worker with {usable_cores()} threads? each"),
        ({"parallel": 2, "processes": 3}, r"cpu: 2 workers of 3 processes with \d+ threads? each"),
        ({"execution": Execution(jobs=4)}, r"cpu: 1 worker with \d+ threads? each, 4 runs in turns"),
    ],
)
def test_an_engine_describes_itself(settings: dict[str, Any], text: str) -> None:
    assert re.fullmatch(text, LocalEngine(Path("images"), **settings).description)


def test_the_processes_of_a_worker_share_its_cores(tmp_path: Path) -> None:
    one = job(tmp_path)
    LocalEngine(Path("images"), command=STUB, poll=0.02, processes=2).submit([one], lambda event: None)
    assert {"--processes=2", f"--threads={max(1, usable_cores() // 2)}"} <= {*notes(one)["options"]}


@pytest.mark.parametrize(
    ("name", "processes", "gpus", "found"),
    [
        ("auto", 1, 0, "cpu"),
        ("auto", 4, 0, "cpu"),
        ("cpu", 2, 4, "cpu"),
        ("auto", 4, 4, "cuda:0"),
        ("cuda:2", 2, 4, "cuda:2"),
        ("cuda", 2, 2, "cuda:0"),
        ("auto", 2, 1, "--processes 2: torch sees 1 GPU here, and each needs its own from cuda:0 on"),
        ("cuda:2", 3, 4, "--processes 3: torch sees 4 GPUs here, and each needs its own from cuda:2 on"),
        ("cuda:4", 1, 4, "--device cuda:4: torch sees 4 GPUs here; choose cuda:0"),
        ("cuda:0", 1, 0, "--device cuda:0: torch sees 0 GPUs here; choose cpu"),
    ],
)
def test_devices(name: str, processes: int, gpus: int, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    if found.startswith("--"):
        with pytest.raises(UsageError, match=re.escape(found)):
            find_device(name, processes)
    else:
        assert find_device(name, processes) == found


@pytest.mark.parametrize(
    ("names", "processes", "found"),
    [
        ("auto", 1, ["cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:4", "cuda:5", "cuda:6", "cuda:7"]),
        ("auto", 4, ["cuda:0", "cuda:4"]),
        ("auto", 3, ["cuda:0", "cuda:3"]),
        ("cuda", 8, ["cuda:0"]),
        ("cuda:2,cuda:3", 1, ["cuda:2", "cuda:3"]),
        ("cuda:2, cuda:3", 2, ["cuda:2"]),
        ("cuda:5", 1, ["cuda:5"]),
        ("cpu", 2, ["cpu"]),
        ("cuda:2,cuda:4", 2, "--processes 2: needs as many GPUs in a row"),
        ("cuda:2,cuda:2", 1, "--device cuda:2,cuda:2: names a device twice"),
        ("cuda:2,cpu", 1, "--device cuda:2,cpu: the CPU and GPUs give different bits"),
        ("cuda:2,cuda:8", 1, "--device cuda:8: torch sees 8 GPUs here"),
        ("auto", 9, "--processes 9: torch sees 8 GPUs here"),
    ],
)
def test_all_gpus_or_those_that_are_named(
    names: str, processes: int, found: list[str] | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    if isinstance(found, str):
        with pytest.raises(UsageError, match=re.escape(found)):
            find_devices(names, processes)
    else:
        assert find_devices(names, processes) == found


def test_jobs_share_the_cores_and_no_more_run_at_once_than_asked(tmp_path: Path) -> None:
    jobs = [job(tmp_path, seed=seed) for seed in range(5)]
    submit(jobs, parallel=2)
    spans = [(notes(each)["began"], notes(each)["ended"]) for each in jobs]
    together = [sum(began <= moment < ended for began, ended in spans) for moment, _ in spans]
    assert max(together) == 2
    assert f"--threads={max(1, usable_cores() // 2)}" in notes(jobs[0])["options"]


def device(job: Job) -> str:
    return next(word for word in notes(job)["options"] if word.startswith("--device=")).removeprefix("--device=")


def overlap(one: Job, other: Job) -> bool:
    return notes(one)["began"] < notes(other)["ended"] and notes(other)["began"] < notes(one)["ended"]


def test_runs_are_dealt_to_the_devices_and_none_is_idle(tmp_path: Path) -> None:
    gpus = [f"cuda:{number}" for number in range(3)]
    jobs = [job(tmp_path, seed=seed) for seed in range(7)]
    submit(jobs, parallel=6, devices=gpus)
    assert [device(each) for each in jobs[:6]] == gpus * 2
    together = [[each for each in jobs if each is job or overlap(each, job)] for job in jobs[:6]]
    assert max(len(each) for each in together) > 3, "two workers on a device"


def test_a_run_whose_worker_died_is_tried_again_and_the_others_go_on(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "die once"), job(tmp_path, "die"), job(tmp_path, seed=1), job(tmp_path, seed=2)]
    events = submit(jobs, devices=("cuda:0", "cuda:1"), parallel=2)
    found = ends(events)
    assert [found[each.title][0] for each in jobs] == ["finished", "failed", "finished", "finished"]
    again = [event.reason for event in events if isinstance(event, Restarting) and event.job == jobs[1]]
    assert [reason.rpartition("; ")[2] for reason in again] == ["retry 1 of 2 in 0 s", "retry 2 of 2 in 0 s"]
    assert "SIGKILL" in again[0]


def test_a_retry_waits_longer_each_time_and_others_need_not_wait(tmp_path: Path) -> None:
    times: list[float] = []

    def watch(event: Event) -> None:
        if isinstance(event, Started) and event.job == dying:
            times.append(time.monotonic())

    dying, other = job(tmp_path, "die"), job(tmp_path)
    engine = LocalEngine(Path("images"), command=STUB, poll=0.02, patience=Patience(retries=2, pause=0.4))
    engine.submit([dying, other], watch)
    assert times[1] - times[0] > 0.4 and times[2] - times[1] > 0.8
    assert other.folder.state is State.finished


def test_a_run_out_of_memory_is_tried_again_with_its_device_to_itself(tmp_path: Path) -> None:
    greedy = job(tmp_path, "run out of memory")
    jobs = [greedy, *(job(tmp_path, seed=seed) for seed in range(1, 9))]
    events = submit(jobs, devices=("cuda:0", "cuda:1"), parallel=4)
    assert {state for state, _ in ends(events).values()} == {"finished"}
    [again] = [event for event in events if isinstance(event, Restarting)]
    assert again.reason == "OutOfMemoryError: too much; continues alone on cuda:0"
    assert not [each for each in jobs[1:] if device(each) == "cuda:0" and overlap(each, greedy)]
    assert [each for each in jobs[1:] if device(each) == "cuda:1" and overlap(each, greedy)]


def test_a_run_that_does_not_advance_is_tried_again(tmp_path: Path) -> None:
    one = job(tmp_path, "stall once")
    events = submit([one])
    [again] = [event.reason for event in events if isinstance(event, Restarting)]
    assert again.startswith("the run did not advance (--stall-timeout); the log says where it stood; retry 1 of 2")
    assert ends(events) == {"stall once 0": ("finished", None)}


def test_a_worker_without_any_sign_of_life_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("okdbench.engines.queue.EXPIRY", 0.5)
    one, events = job(tmp_path, "freeze once"), list[Event]()
    patience = Patience(pause=0, stall_timeout=0.5)
    LocalEngine(Path("images"), command=STUB, poll=0.02, patience=patience).submit([one], events.append)
    [again] = [event.reason for event in events if isinstance(event, Restarting)]
    assert again.startswith("the worker gave no sign of life (--stall-timeout) and was killed; retry 1 of 2")
    assert ends(events) == {"freeze once 0": ("finished", None)}


def test_why_a_run_was_given_up_stays_in_its_folder(tmp_path: Path) -> None:
    one = job(tmp_path, "die")
    submit([one])
    assert one.folder.state is State.failed and "SIGKILL" in str(one.folder.reason)


def test_a_failed_or_diverged_run_never_stops_the_others(tmp_path: Path) -> None:
    jobs = [job(tmp_path, does) for does in ("fail", "diverge", "die", "leave", "finish")]
    found = ends(submit(jobs))
    assert found["fail 0"] == ("failed", "ValueError: out of luck")
    assert found["diverge 0"] == ("diverged", "loss is not finite")
    assert found["die 0"][0] == "failed" and "SIGKILL" in str(found["die 0"][1])
    assert found["leave 0"] == ("failed", "the worker ended with status 0 and left no record")
    assert found["finish 0"] == ("finished", None)


def test_a_worker_that_cannot_start_is_a_failure_of_its_run_only(tmp_path: Path) -> None:
    blocked, fine = job(tmp_path, seed=1), job(tmp_path)
    blocked.folder.log.mkdir(parents=True)
    found = ends(submit([blocked, fine]))
    assert found["finish 1"][0] == "failed" and found["finish 0"][0] == "finished"


def test_progress_of_an_earlier_try_is_no_news(tmp_path: Path) -> None:
    one = job(tmp_path, "leave")
    stale = {"epoch": 2, "epochs": 3, "step": 1, "steps": 2, "loss": 1.0, "head": "student"}
    one.folder.path.mkdir(parents=True)
    write_json(one.folder.path / "progress.json", {**stale, "accuracy": 9.0, "images_per_second": 1.0, "time": 1.0})
    assert all(event.snapshot.epoch == 0 for event in submit([one]) if isinstance(event, Advanced))


def test_an_interrupt_reaches_each_worker_once_and_waits_for_its_checkpoint(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "wait", seed) for seed in range(3)]
    before = signal.getsignal(signal.SIGINT)
    at_work: set[str] = set()

    def watch(event: Event) -> None:
        if isinstance(event, Advanced):
            at_work.add(event.job.title)
            if len(at_work) == 2:
                interrupt_ourselves()

    events = submit(jobs, parallel=2, on_event=watch)
    assert [event.workers for event in events if isinstance(event, Stopping)] == [2]
    assert ends(events) == {"wait 0": ("interrupted", None), "wait 1": ("interrupted", None)}
    for each in jobs[:2]:
        assert notes(each)["interrupts"] == 1
        assert (each.folder.path / "checkpoint-000000001.pt").exists()
        assert notes(each)["session"] != os.getsid(0), "a Ctrl-C in the terminal must not reach the worker by itself"
    assert not jobs[2].folder.path.exists()
    assert signal.getsignal(signal.SIGINT) == before


def test_a_second_interrupt_kills(tmp_path: Path) -> None:
    def watch(event: Event) -> None:
        if isinstance(event, Advanced):
            interrupt_ourselves()
        elif isinstance(event, Stopping):
            threading.Timer(0.2, interrupt_ourselves).start()

    one = job(tmp_path, "never stop")
    events = submit([one], on_event=watch)
    assert ends(events) == {"never stop 0": ("interrupted", None)}
    assert notes(one)["interrupts"] == 1


def test_sigterm_stops_like_an_interrupt(tmp_path: Path) -> None:
    def watch(event: Event) -> None:
        if isinstance(event, Advanced):
            os.kill(os.getpid(), signal.SIGTERM)

    assert ends(submit([job(tmp_path, "wait")], on_event=watch)) == {"wait 0": ("interrupted", None)}


def test_no_worker_is_left_behind_when_the_view_breaks(tmp_path: Path) -> None:
    def broken(event: Event) -> None:
        if isinstance(event, Advanced):
            raise BrokenPipeError

    one = job(tmp_path, "wait")
    with pytest.raises(BrokenPipeError):
        submit([one], on_event=broken)
    assert notes(one)["interrupts"] == 1 and "ended" in notes(one)


def test_a_run_that_another_process_trains_is_watched_and_taken_over(tmp_path: Path) -> None:
    one, other = job(tmp_path, "wait"), job(tmp_path, seed=1)
    one.folder.write_config(one.config)
    foreign = subprocess.Popen([*STUB, str(one.folder)], stdout=subprocess.DEVNULL)
    while not (one.folder.path / "stub.json").exists():
        time.sleep(0.02)

    def watch(event: Event) -> None:
        if isinstance(event, Ended) and event.job == other:
            foreign.send_signal(signal.SIGINT)

    events = submit([one, other], on_event=watch)
    assert foreign.wait() == 75
    started = [(event.job.title, event.elsewhere) for event in events if isinstance(event, Started)]
    assert started == [("wait 0", True), ("finish 1", False), ("wait 0", False)]
    assert ends(events) == {"finish 1": ("finished", None), "wait 0": ("finished", None)}


def test_a_student_waits_for_its_teacher(tmp_path: Path) -> None:
    teacher = job(tmp_path)
    student, other = job(tmp_path, seed=1, teacher=teacher.config), job(tmp_path, seed=2)
    submit([student, teacher, other], parallel=3)
    assert notes(student)["began"] >= notes(teacher)["ended"]
    assert notes(other)["began"] < notes(teacher)["ended"]


def duplicate_of(one: Job) -> Job:
    """The same run under another recipe."""
    return Job(one.config, RunFolder(one.folder.path.parent.parent / "other" / one.config.folder), one.title)


def taken(folder: Path) -> Lease:
    """The lease of a run's folder."""
    lease = take(folder)
    assert lease
    return lease


def test_what_another_recipe_has_done_meanwhile_is_taken_over(tmp_path: Path) -> None:
    one, again = job(tmp_path), job(tmp_path, seed=1)
    submit([duplicate_of(one), duplicate_of(again)])
    again = Job(again.config, again.folder, again.title, retrain=True)
    assert ends(submit([one, again])) == {
        "finish 0": ("finished", "taken over from other"),
        "finish 1": ("finished", None),
    }
    assert not (one.folder.path / "stub.json").exists() and (again.folder.path / "stub.json").exists()
    assert (one.folder.path / "weights.pt").exists()


def test_a_run_in_work_under_another_recipe_is_watched_and_then_taken_over(tmp_path: Path) -> None:
    one, other = job(tmp_path), job(tmp_path, seed=1)
    submit([duplicate_of(one)])
    place = duplicate_of(one).folder.path
    record = (place / "record.json").rename(place / "elsewhere")
    lease = taken(place)

    def watch(event: Event) -> None:
        if isinstance(event, Ended) and event.job == other:
            record.rename(place / "record.json")
            lease.release()

    events = submit([one, other], on_event=watch)
    started = [(event.job.title, event.elsewhere) for event in events if isinstance(event, Started)]
    assert started == [("finish 0", True), ("finish 1", False)]
    assert ends(events)["finish 0"] == ("finished", "taken over from other")
    assert not (one.folder.path / "stub.json").exists()


def test_a_run_left_undone_under_another_recipe_is_trained_here(tmp_path: Path) -> None:
    one, other = job(tmp_path), job(tmp_path, seed=1)
    place = duplicate_of(one).folder.path
    place.mkdir(parents=True)
    lease = taken(place)

    def watch(event: Event) -> None:
        if isinstance(event, Ended) and event.job == other:
            lease.release()

    events = submit([one, other], on_event=watch)
    assert ends(events)["finish 0"] == ("finished", None) and (one.folder.path / "stub.json").exists()

"""The Slurm engine with commands that only stand for Slurm's, and with submitit's executor for this machine."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

submitit = pytest.importorskip("submitit")

from commandline import STUB  # noqa: E402
from stub_jobs import ends, job, notes, submit_to  # noqa: E402

from okdbench.engines import Advanced, Event, Patience, Started, Stopping  # noqa: E402
from okdbench.engines.registry import Request  # noqa: E402
from okdbench.engines.slurm import ENGINE, SlurmEngine  # noqa: E402
from okdbench.errors import UsageError  # noqa: E402
from okdbench.runs.execution import Execution  # noqa: E402
from okdbench.runs.records import State  # noqa: E402

SBATCH = """#!/bin/sh
cd {folder}
[ ! -f refuses ] || {{ cat refuses >&2; exit 1; }}
number=$(($(cat number) + 1)); echo $number >number
cp "$1" $number.sh
count=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")
if [ -z "$count" ]; then echo "$number PENDING" >>queue
else for task in $(seq 0 $count); do echo "${{number}}_$task PENDING" >>queue; done; fi
echo "Submitted batch job $number"
"""


class FakeSlurm:
    """A folder in which sbatch leaves its scripts, and from which squeue answers; no job ever runs by itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "number").write_text("0")
        (folder / "queue").touch()
        programs = {
            "sbatch": SBATCH.format(folder=folder),
            "squeue": f"#!/bin/sh\ncat {folder}/queue\n",
            "srun": "#!/bin/sh\n",
            "scancel": "#!/bin/sh\n",
            "scontrol": f'#!/bin/sh\necho "$@" >>{folder}/scontrol\n',
        }
        for name, text in programs.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    @property
    def scripts(self) -> list[str]:
        """What was submitted, in order."""
        paths = sorted(self.folder.glob("*.sh"), key=lambda path: int(path.stem))
        return [path.read_text() for path in paths]

    def jobs(self) -> dict[str, str]:
        """The states of the jobs."""
        return dict(line.split() for line in (self.folder / "queue").read_text().splitlines())

    def end(self, identifier: str, state: str) -> None:
        """Give a job another state, as soon as it is there."""

        def change() -> None:
            while identifier not in (jobs := self.jobs()):
                time.sleep(0.02)
            changed = self.folder / "changed"
            changed.write_text("".join(f"{each} {known}\n" for each, known in {**jobs, identifier: state}.items()))
            changed.replace(self.folder / "queue")

        threading.Thread(target=change).start()

    def interrupt_us(self, jobs: int) -> None:
        """Press Ctrl-C as soon as there are that many jobs."""

        def press() -> None:
            while len(self.jobs()) < jobs:
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=press).start()


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    folder = tmp_path / "slurm"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(SlurmEngine, "poll", 0.02)
    return FakeSlurm(folder)


def engine(folder: Path, **changes: Any) -> SlurmEngine:
    settings = {"time": "01:00:00", **changes.pop("settings", {})}
    return SlurmEngine(Request(Path("images"), folder, "cpu", settings=settings, **changes), STUB)


def option(script: str, name: str) -> str | None:
    found = re.search(rf"^#SBATCH --{name}(?:=(.*))?$", script, re.MULTILINE)
    return found and found[1]


def test_runs_that_wait_for_nothing_are_one_array_and_a_students_job_waits_for_its_teachers(
    tmp_path: Path, slurm: FakeSlurm
) -> None:
    teachers = [job(tmp_path, seed=seed) for seed in (0, 1)]
    students = [
        job(tmp_path, seed=seed, teacher=teacher.config) for seed, teacher in zip((2, 3), teachers, strict=True)
    ]
    slurm.interrupt_us(jobs=4)
    events = submit_to(engine(tmp_path, settings={"partition": "gpu", "gres": "gpu:1"}), [*teachers, *students])
    first, second, third = slurm.scripts
    assert option(first, "array") == "0-1%2" and option(first, "dependency") is None
    assert [option(script, "dependency") for script in (second, third)] == ["afterok:1_0", "afterok:1_1"]
    for script in slurm.scripts:
        said = {name: option(script, name) for name in ("partition", "gres", "time", "signal", "job-name")}
        assert said == {
            "partition": "gpu",
            "gres": "gpu:1",
            "time": "01:00:00",
            "signal": "USR2@120",
            "job-name": "okdbench-mine",
        }
        assert "#SBATCH --requeue\n" in script and " -P -u -m submitit" in script
    assert [type(event) for event in events] == [Stopping], "no run has begun, and none has ended"
    [left] = events
    assert isinstance(left, Stopping)
    assert left.note == "4 Slurm jobs go on: the same command watches them again, scancel 1 2 3 ends them"


def test_the_same_command_finds_its_jobs_in_the_queue(tmp_path: Path, slurm: FakeSlurm) -> None:
    jobs = [job(tmp_path, seed=seed) for seed in (0, 1)]
    slurm.interrupt_us(jobs=2)
    submit_to(engine(tmp_path), jobs)
    slurm.interrupt_us(jobs=3)
    submit_to(engine(tmp_path), [*jobs, job(tmp_path, seed=2)])
    assert len(slurm.scripts) == 2 and option(slurm.scripts[1], "array") is None
    assert json.loads((tmp_path / ".slurm" / "2.json").read_text()) == {
        "2": [f"mine/{job(tmp_path, seed=2).config.folder}"]
    }


def test_what_sbatch_refuses_is_said_in_its_own_words(tmp_path: Path, slurm: FakeSlurm) -> None:
    (slurm.folder / "refuses").write_text("sbatch: error: invalid partition specified: gpuu\nsbatch: error: more\n")
    with pytest.raises(UsageError) as caught:
        submit_to(engine(tmp_path, settings={"partition": "gpuu"}), [job(tmp_path)])
    said = "--engine slurm: sbatch: error: invalid partition specified: gpuu; see the section [engine.slurm] of "
    assert str(caught.value) == f"{said}okdbench.toml"


def test_doctor_is_told_that_slurm_does_not_answer(slurm: FakeSlurm) -> None:
    (slurm.folder / "refuses").write_text("sbatch: error: more\nsbatch: fatal: no configuration source\n")
    with pytest.raises(UsageError, match=r"sbatch --version fails .sbatch: fatal: no configuration source.; give"):
        ENGINE.find()


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("CANCELLED", (State.interrupted, "stopped from outside")),
        ("TIMEOUT", (State.failed, "Slurm job 1 ended as TIMEOUT; its log is in {folder}/.slurm")),
    ],
)
def test_a_job_that_ends_without_a_word(tmp_path: Path, slurm: FakeSlurm, state: str, found: tuple[State, str]) -> None:
    slurm.end("1", state)
    events = submit_to(engine(tmp_path, patience=Patience(retries=0)), [job(tmp_path)])
    assert ends(events)["finish 0"] == (found[0], found[1].format(folder=tmp_path))


def test_a_student_whose_teacher_fails_is_no_interrupted_one(tmp_path: Path, slurm: FakeSlurm) -> None:
    teacher = job(tmp_path)
    student = job(tmp_path, "student", seed=1, teacher=teacher.config)
    slurm.end("1", "FAILED")
    slurm.end("2", "CANCELLED")  # by Slurm, because of kill-on-invalid-dep
    events = submit_to(engine(tmp_path, patience=Patience(retries=0)), [teacher, student])
    why = f"{teacher.config.folder}, which it needs, has not ended well"
    assert ends(events)["student 1"] == (State.failed, why)


def test_runs_in_turns_share_a_job(tmp_path: Path, slurm: FakeSlurm) -> None:
    slurm.interrupt_us(jobs=2)
    submit_to(engine(tmp_path, execution=Execution(jobs=2)), [job(tmp_path, seed=seed) for seed in range(3)])
    runs = json.loads((tmp_path / ".slurm" / "1.json").read_text())
    assert [len(folders) for folders in runs.values()] == [2, 1]


def test_a_setting_that_is_missing_and_a_command_that_is(
    tmp_path: Path, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"give the time limit of a job, with --engine-option time=04:00:00, or as"):
        SlurmEngine(Request(Path("images"), tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="--engine slurm: sbatch: no such command; give the command on a login node"):
        engine(tmp_path)


class Recorder(submitit.LocalExecutor):
    """submitit's executor for this machine."""

    def map_array(self, function: Any, *arguments: Any) -> list[Any]:
        self.update_parameters(timeout_min=1)
        self.jobs = super().map_array(function, *arguments)
        return self.jobs


class OnThisMachine(SlurmEngine):
    poll = 0.1

    def _make_executor(self, setup: Any, parallel: int) -> Any:
        return Recorder(self.folder)

    def state(self, identifier: str) -> str:
        [found] = [each for each in self._executor.jobs if each.job_id == identifier]
        return "COMPLETED" if found.done() else "RUNNING"


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.slow
def test_a_job_whose_time_is_over_continues_from_its_checkpoint(tmp_path: Path) -> None:
    one = job(tmp_path, "wait")  # until it is interrupted; it finishes where there is a checkpoint
    announced: list[int] = []

    def announce_the_end(event: Event) -> None:
        if isinstance(event, Advanced) and not announced:
            announced.append(parent_of(notes(one)["session"]))
            os.kill(announced[0], signal.SIGUSR2)

    engine = OnThisMachine(Request(Path("images"), tmp_path, "cpu"), STUB)
    events = submit_to(engine, [one], announce_the_end)
    assert announced and ends(events) == {"wait 0": (State.finished, None)}
    assert len([event for event in events if isinstance(event, Started)]) == 1
    assert notes(one)["options"][0] == f"--data={Path('images').absolute()}"
    [log] = (tmp_path / ".slurm").glob("*_log.err")
    assert "Caught signal SIGUSR2" in log.read_text()

"""The program as a person meets it: real processes, a real terminal, real training."""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandline import TINY
from patience import wait_for

OKDBENCH = (sys.executable, "-m", "okdbench")
ROOT = Path(__file__).parent.parent.parent
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OKDBENCH_RESULTS": str(tmp_path / "results"),
        "OKDBENCH_DATA": str(tmp_path / "data"),
        "COLUMNS": "120",
        "TERM": "xterm-256color",
    }


@pytest.fixture
def interrupted(environment: dict[str, str], tmp_path: Path) -> Iterator[tuple[Path, list[str], subprocess.Popen[str]]]:
    """A training of two runs with one in work, as its run folder, its options and its process."""
    options = [str(TINY), "-m", "baseline", "--epochs", "200"]
    process = subprocess.Popen(
        [*OKDBENCH, "run", *options], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield wait_for(lambda: [*tmp_path.glob("results/tiny/*/metrics.jsonl")], process)[0].parent, options, process
    finally:
        process.terminate()
        process.wait(240)


@pytest.mark.slow
def test_ctrl_c_reaches_all_runs_of_a_worker(environment: dict[str, str], tmp_path: Path) -> None:
    command = [*OKDBENCH, "run", str(TINY), "-m", "baseline", "--epochs", "200", "--jobs-per-device", "2"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for seed in (0, 1):
        wait_for(lambda seed=seed: [*tmp_path.glob(f"results/tiny/*.s{seed}.*/metrics.jsonl")], process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert (process.returncode, err) == (130, "")
    assert "2 threads each, 2 runs in turns" in out or "1 thread each, 2 runs in turns" in out
    assert "2 runs: 2 interrupted" in out
    assert len(list(tmp_path.glob("results/tiny/*/checkpoint-*.pt"))) >= 2


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_continue(
    interrupted: tuple[Path, list[str], subprocess.Popen[str]], environment: dict[str, str]
) -> None:
    folder, options, process = interrupted
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130 and not err
    assert "2 runs: 1 interrupted, 1 pending" in out
    assert f"continue with: python -m okdbench run {' '.join(options)}\n" in out
    assert list(folder.glob("checkpoint-*.pt"))
    done = subprocess.run([*OKDBENCH, "status", *options], env=environment, capture_output=True, text=True, check=True)
    assert re.search(r"interrupted \d+/200 +pending", done.stdout)


@pytest.mark.slow
def test_a_terminal_gets_a_live_view_and_the_same_summary(environment: dict[str, str], tmp_path: Path) -> None:
    command = [*OKDBENCH, "run", str(TINY), "--smoke", "-m", "baseline"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    while chunk := _read(ours):
        written += chunk
    assert process.wait(240) == 0
    screen = written.decode()
    assert "\x1b[?25l" in screen and screen.rstrip().endswith(f"report {TINY} -m baseline --smoke")
    text = ESCAPE.sub("", screen)
    assert "0/1 run " in text and "starting" in text and "100%" in text
    assert "digits resnet8 baseline seed 0: finished, student " in text and "1 run: 1 finished" in text
    assert len(list((tmp_path / "results" / "tiny").glob("*/record.json"))) == 1


@pytest.mark.slow
def test_a_terminal_that_is_closed_stops_the_runs_quietly(environment: dict[str, str], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*OKDBENCH, "run", str(TINY), "-m", "baseline", "--epochs", "200"],
        env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    while not (found := list(tmp_path.glob("results/tiny/*/metrics.jsonl"))):
        if select.select([ours], [], [], 0.1)[0]:
            os.read(ours, 65536)
        assert process.poll() is None
    os.close(ours)
    assert process.wait(240) == 130
    assert list(found[0].parent.glob("checkpoint-*.pt"))


def _read(terminal: int) -> bytes:
    """What the process writes next; nothing once it has closed the terminal."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def test_a_mistake_is_a_line_and_no_traceback(environment: dict[str, str]) -> None:
    done = subprocess.run([*OKDBENCH, "show", "quickstrat"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'okdbench: error: unknown recipe "quickstrat": did you mean "quickstart"?\n' + (
        "okdbench: try: python -m okdbench list recipes\n"
    )


def test_a_closed_pipe_is_no_error(environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m okdbench list recipes | head -n 1"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.count("\n") == 1 and "Traceback" not in done.stderr


def test_a_disk_that_fails_is_no_closed_terminal(environment: dict[str, str], tmp_path: Path) -> None:
    """Of a process's memory, which starts at no readable address, the system says what it says of a broken disk."""
    failing = "import pathlib; from okdbench import recipe\n"
    failing += "recipe.available = lambda: {'quickstart': pathlib.Path('/proc/self/mem').read_bytes()}\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{failing}from okdbench.cli import main; main()", "list", "recipes"],
        env=environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and "Input/output error" in done.stderr

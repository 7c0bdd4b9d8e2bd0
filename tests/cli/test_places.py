"""Where okdbench writes: outputs that are closed, full or narrow, the user's own links, and links of others."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_input import RECIPE
from commandline import Command
from patience import PATIENCE

from okdbench.errors import UsageError
from okdbench.files import append_line, atomic_write
from okdbench.plan import expand
from okdbench.recipe import load

OKDBENCH = f"{sys.executable} -m okdbench"
ROOT = Path(__file__).parents[2]


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash, in which $OKDBENCH is the program, in a folder with a recipe."""
    (folder / "mine.yaml").write_text(RECIPE)
    names = {"OKDBENCH": OKDBENCH, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder), **environment}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OKDBENCH_")}
    line = line.replace("$OKDBENCH", OKDBENCH)
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env={**inherited, **names}, capture_output=True, timeout=PATIENCE
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("$OKDBENCH list recipes > /dev/full", 2, "standard output: No space left on device"),
        ("$OKDBENCH --version > /dev/full", 2, "standard output: No space left on device"),
        ("$OKDBENCH status mine.yaml >&-", 0, ""),
        ("$OKDBENCH show nowhere.yaml 2> /dev/full", 2, ""),
        ("$OKDBENCH show nowhere.yaml >&- 2>&-", 2, ""),
        ("mkdir gone; cd gone; rmdir ../gone; $OKDBENCH list recipes", 2, "the current folder: No such file"),
    ],
)
def test_outputs_that_take_nothing(line: str, status: int, said: str, tmp_path: Path) -> None:
    done = shell(line, tmp_path)
    err = done.stderr.decode()
    assert done.returncode == status, err
    assert said in err and "Traceback" not in err and len(err.splitlines()) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_narrow_outputs_replace_what_they_lack(encoding: str, tmp_path: Path) -> None:
    done = shell("$OKDBENCH status mine.yaml; $OKDBENCH nope", tmp_path, PYTHONIOENCODING=encoding)
    assert b"2 pending" in done.stdout and b"Traceback" not in done.stderr and b"No such command" in done.stderr


@pytest.mark.slow
def test_files_are_utf_8_in_any_locale(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    line = "$OKDBENCH report mine.yaml -o table.md"
    done = shell(line, tmp_path, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0, done.stderr
    assert "—" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_the_users_own_link_is_written_through(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    (tmp_path / "paper").mkdir()
    (tmp_path / "table.md").symlink_to(tmp_path / "paper" / "table.md")
    assert okdbench("report", "mine.yaml", "-o", "table.md").status == 0
    assert (tmp_path / "table.md").is_symlink() and (tmp_path / "paper" / "table.md").read_text().startswith("### A")


def test_what_is_no_file_is_written_to_and_not_replaced(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    os.mkfifo(tmp_path / "pipe.md")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe.md")], stdout=subprocess.PIPE)
    assert okdbench("report", "mine.yaml", "-o", "pipe.md").status == 0
    assert reader.communicate(timeout=PATIENCE)[0].startswith(b"### A recipe")
    assert (tmp_path / "pipe.md").is_fifo()


def test_the_home_folder_is_meant_everywhere(
    okdbench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (home / "mine.yaml").write_text(RECIPE)
    (home / "plugin.py").write_text("")
    assert okdbench("--plugin", "~/plugin.py", "report", "~/mine.yaml", "-o", "~/table.md").status == 0
    assert okdbench("copy", "quickstart", "~/copy.yaml").status == 0
    assert okdbench("data", "pack", "digits", "--data", "~/images").status == 0
    monkeypatch.setenv("OKDBENCH_RESULTS", "~/records")
    assert f"2 runs in {home}/records/mine" in okdbench("status", "~/mine.yaml").out
    monkeypatch.setenv("OKDBENCH_PLUGINS", "~/plugin.py")
    assert okdbench("list", "recipes").status == 0
    assert {path.name for path in home.iterdir()} == {"mine.yaml", "plugin.py", "table.md", "copy.yaml", "images"}
    assert not (tmp_path / "~").exists()


FILES = ("log.txt", "config.json", "progress.json", "failure.json")


@pytest.mark.parametrize("name", [*FILES, ".config.json.PID.tmp", ".weights.pt.PID.tmp"])
@pytest.mark.usefixtures("stubbed")
def test_no_link_in_a_runs_folder_is_written_through(name: str, okdbench: Command, tmp_path: Path) -> None:
    name = name.replace("PID", str(os.getpid()))
    folder = _planted(tmp_path, name, lambda path: path.symlink_to(tmp_path / "victim"))
    (tmp_path / "victim").write_text("precious")
    okdbench("run", "mine.yaml", "-m", "baseline")
    assert (tmp_path / "victim").read_text() == "precious", list(folder.iterdir())


def test_metrics_are_not_added_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "victim")
    with pytest.raises(UsageError, match=r"metrics\.jsonl: is a symbolic link, which okdbench never makes here"):
        append_line(tmp_path / "metrics.jsonl", "more\n")
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("name", [*FILES, "metrics.jsonl", "record.json", "weights.pt", "checkpoint-000000003.pt"])
@pytest.mark.usefixtures("stubbed")
def test_a_folder_in_place_of_a_file_is_no_traceback(name: str, okdbench: Command, tmp_path: Path) -> None:
    _planted(tmp_path, name, lambda path: path.mkdir())
    for words in (("status",), ("run", "--dry-run"), ("report",), ("run", "--retries", "0")):
        status, out, err = okdbench(words[0], "mine.yaml", *words[1:], "-m", "baseline")
        assert status in (0, 1) and out, err


@pytest.mark.parametrize("where", ["results/mine", "RUN"])
@pytest.mark.usefixtures("stubbed")
def test_a_file_in_place_of_a_folder_is_no_traceback(where: str, okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    path = _run(tmp_path) if where == "RUN" else tmp_path / where
    path.parent.mkdir(parents=True)
    path.write_text("x")
    for words in (("status",), ("report",), ("run",)):
        status, _, err = okdbench(words[0], "mine.yaml", *words[1:], "-m", "baseline")
        assert status in (0, 1, 2) and len(err.splitlines()) <= 4, err


def _run(folder: Path) -> Path:
    (folder / "mine.yaml").write_text(RECIPE)
    return folder / "results" / "mine" / expand(load(folder / "mine.yaml")).runs[0].config.folder


def _planted(folder: Path, name: str, make: Callable[[Path], object]) -> Path:
    """A run's folder in which somebody has put something under this name."""
    run = _run(folder)
    run.mkdir(parents=True)
    make(run / name)
    return run


def test_nothing_but_a_file_is_ever_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match="is not a file"), atomic_write(tmp_path / name) as file:
            file.write("text")
    assert (tmp_path / "pipe").is_fifo() and not list(tmp_path.glob(".*"))


def test_packed_images_have_a_place_of_their_own(
    okdbench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OKDBENCH_PACKED", "")
    (tmp_path / "data" / "packed").parent.mkdir()
    (tmp_path / "data" / "packed").write_text("no folder can be made here, as in a folder of somebody else's")
    status, _, err = okdbench("data", "pack", "digits")
    assert status == 2 and "choose a folder for packed files with --packed DIR" in err
    assert (
        okdbench("data", "pack", "digits", "--packed", "mine").out == f"digits: packed in {tmp_path}/mine/digits.pt\n"
    )
    assert okdbench("data", "verify", "digits", "--packed", "mine").out.startswith("digits: ok")

"""What somebody meets who does not know the program yet: first steps, wrong words, defaults, completion."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commandline import Command

from okdbench.recipe import available

ROOT = Path(__file__).parents[2]
METHOD = """
from okdbench.methods.baseline import Baseline
class Mine(Baseline):
    name = "mymethod"
"""
RECIPE = """
title: Mine
kind: training
grid: {dataset: digits, network: resnet8, method: [baseline, mymethod]}
seeds: [0]
training: {epochs: 1, optimizer: {lr: 0.1}, schedule: {name: cosine}}
table: {rows: network, columns: method}
"""


def test_the_program_alone_says_what_to_do_next(okdbench: Command) -> None:
    status, out, _ = okdbench()
    assert status == 0 and len(out.splitlines()) <= 10
    for words in ("doctor", "run quickstart", "report quickstart", "list recipes", "--help"):
        assert f"okdbench {words}" in out


@pytest.mark.parametrize(
    ("words", "message", "then"),
    [
        (
            ("show", "dkel-table"),
            'did you mean "dkel-table1", "dkel-table2", "dkel-table3" or "dkel-table4"?',
            "list recipes",
        ),
        (("run", "quickstart", "-m", "dml,pcl"), "repeat the option for each: --method dml --method pcl", "show"),
        (("run", "nowhere.yaml"), "there is no such file", "list recipes"),
        (("--plugin", "nowhere.py", "list"), "there is no such file", "list --help"),
    ],
)
def test_every_mistake_ends_with_a_command_to_try(
    words: tuple[str, ...], message: str, then: str, okdbench: Command
) -> None:
    status, out, err = okdbench(*words)
    assert (status, out) == (2, "") and message in err
    assert err.splitlines()[-1].startswith(f"okdbench: try: okdbench {then}")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--lr", "0.1"), "--set training.optimizer.lr=VALUE"),
        (("--batch-size", "64"), "--set training.batch_size=VALUE"),
        (("-s", "0,1"), "repeat the option for each value: -s A -s B"),
    ],
)
def test_a_wrong_option_gets_a_hint(words: tuple[str, ...], hint: str, okdbench: Command) -> None:
    status, _, err = okdbench("run", "quickstart", *words)
    assert status == 2 and hint in " ".join(err.replace("│", " ").split())


@pytest.mark.slow
def test_an_option_of_the_program_may_follow_the_verb(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(METHOD)
    (tmp_path / "mine.yaml").write_text(RECIPE)
    without = okdbench("show", "mine.yaml").out
    assert 'unknown method "mymethod" (did you forget --plugin FILE.py?)' in " ".join(without.split())
    script = "from okdbench.cli import main; main()"
    words = ["run", "mine.yaml", "--plugin", "mine.py", "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", script, *words], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert "2 runs: 2 pending" in done.stdout, done.stderr


def test_recipes_are_listed_by_paper_within_the_terminal(okdbench: Command) -> None:
    out = okdbench("list", "recipes").out
    assert all(f"\n  {name} " in out for name in available())
    dml = out.index("Deep Mutual Learning (2018)\n")
    assert out.index("dml-table2") > dml


@pytest.mark.slow
def test_what_is_known_is_told_without_torch(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("[baseline, mymethod]", "[baseline]"))
    known = (["list"], ["list", "methods"], ["validate", "dkel-table1"], ["validate", "mine.yaml"], ["audit"])
    first = [okdbench(*words) for words in known]
    assert [okdbench(*words) for words in known] == first
    script = (
        "import sys; sys.argv = ['okdbench', *sys.argv[1:]]\n"
        "from okdbench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    for words in ([], ["list", "recipes"], ["show", "quickstrat"], *known):
        command = [sys.executable, "-c", script, *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "False", words


def test_a_changed_recipe_is_judged_again(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("[baseline, mymethod]", "[baseline]"))
    assert okdbench("validate", "mine.yaml").status == 0
    (tmp_path / "other.yaml").write_text("extends: mine.yaml\ntitle: Other\n")
    assert "unknown method" not in okdbench("validate", "other.yaml").out
    (tmp_path / "mine.yaml").write_text(RECIPE)
    for name in ("mine.yaml", "other.yaml"):
        assert "unknown method" in okdbench("validate", name).out
    (tmp_path / "agree.py").write_text(METHOD)
    command = [sys.executable, "-m", "okdbench", "--plugin", "agree.py", "validate", "mine.yaml"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0 and "unknown method" not in done.stdout


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("okdbench run dkel-t", ["dkel-table1", "dkel-table2", "dkel-table3", "dkel-table4"]),
        ("okdbench run quickstart -m d", ["dml", "dkel"]),
        ("okdbench report dkel-table2 -d tiny", ["tiny-imagenet"]),
        ("okdbench show mi", ["mine.yaml"]),
        ("okdbench data fetch svhn-", ["svhn-extra"]),
    ],
)
def test_the_shell_completes_names(line: str, found: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("title: mine")
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "_OKDBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    script = "import sys; sys.argv = ['okdbench']; from okdbench.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert [name for name in done.stdout.split() if name] == found, done.stderr


def test_options_come_from_files_and_environment(
    okdbench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def states(*words: str) -> str:
        [line] = re.findall(r"^\d+ runs?: .*", okdbench("run", "quickstart", "--dry-run", *words).out, re.MULTILINE)
        return line

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    (tmp_path / "okdbench.toml").write_text('seed = 1\n[run]\nmethod = ["dml"]\n')
    assert states().startswith("1 run:") and states("-m", "pcl", "-s", "0", "-s", "1").startswith("2 runs:")
    monkeypatch.setenv("OKDBENCH_RUN_METHOD", "dml pcl")
    assert states().startswith("2 runs:")
    monkeypatch.setenv("OKDBENCH_SEED", "x")
    status, _, err = okdbench("run", "quickstart", "--dry-run")
    assert status == 2 and "it comes from OKDBENCH_SEED" in " ".join(err.replace("│", " ").split())


def test_every_wrong_key_of_the_file_is_named(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "okdbench.toml").write_text("job = 2\n[rnu]\njobs = 2\n[run]\nresult = 'x'\n")
    status, _, err = okdbench("status", "quickstart")
    assert status == 2
    for line in (
        'okdbench.toml: job: no verb has such an option; did you mean "jobs"',
        'okdbench.toml: [rnu]: is no verb; did you mean "run"?',
        'okdbench.toml: [run] result: run has no such option; did you mean "results"?',
    ):
        assert line in err


def test_several_recipes_are_checked_at_once_and_each_once(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE.replace(", mymethod", ""))
    (tmp_path / "wrong.yaml").write_text(RECIPE.replace("epochs: 1", "epochs: 0"))
    status, out, err = okdbench("validate", "wrong.yaml", "quickstart", "mine.yaml", "wrong.yaml")
    assert status == 2 and out.startswith("ok  quickstart: ") and out.endswith("ok  mine.yaml: 1 cell, 1 run\n")
    assert err.count("training.epochs") == 1 and err.endswith("1 of 3 recipes invalid\n")
    assert okdbench("validate", "quickstart", "nothing.yaml") == (2, "", okdbench("validate", "nothing.yaml").err)


def test_one_seed_stands_for_a_list(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("[0]", "3").replace(", mymethod", ""))
    assert okdbench("validate", "mine.yaml").out == "ok  mine.yaml: 1 cell, 1 run\n"


def test_a_wrong_kind_hides_no_other_mistake(okdbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        RECIPE.replace("kind: training", "kind: trainnig").replace("epochs: 1", "epochs: 0").replace("[0]", "[]")
    )
    err = okdbench("validate", "mine.yaml").err
    assert 'kind: there is no "trainnig"; did you mean "training"?' in err
    assert "training.epochs: must be above 0" in err and "seeds: is empty" in err

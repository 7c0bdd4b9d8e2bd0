import re
import shlex
import subprocess
import sys

import pytest
from commandline import Command, verbs_and_options

from okdbench.cli.program import own_options

TRAINING_VERBS = ("list", "show", "copy", "validate", "plan", "run", "status", "watch")
VERBS = (*TRAINING_VERBS, "report", "audit", "bench", "doctor", "export", "track")
DATA_VERBS = ("list", "fetch", "verify", "pack")
ALL = (
    [(verb,) for verb in VERBS]
    + [("data", verb) for verb in DATA_VERBS]
    + [("results", "merge"), ("new", "method"), ("new", "recipe")]
)


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['okdbench', '--help']\n"
        "from okdbench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'pandas', 'pydantic', 'scipy', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_first_page_names_every_verb_and_every_exit_status(okdbench: Command) -> None:
    status, out, _ = okdbench("--help")
    assert status == 0
    for verb in (*VERBS, "data", "results", "new"):
        assert re.search(rf"^│ {verb} ", out, re.MULTILINE), verb
    for number in ("0", "1", "2", "130"):
        assert re.search(rf"^ *{number} +\w", out, re.MULTILINE), number


@pytest.mark.parametrize("verb", ALL, ids=" ".join)
def test_each_verb_has_examples_that_parse(verb: tuple[str, ...], okdbench: Command) -> None:
    status, out, _ = okdbench(*verb, "--help")
    assert status == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    lines = re.sub(r" \\ *\n +", " ", out.partition("Examples:")[2]).splitlines()
    examples = [shlex.split(line) for line in lines if line.strip().startswith("okdbench ")]
    assert examples
    for program, *words in examples:
        assert program == "okdbench" and tuple(words[: len(verb)]) == verb
        parse(words)


def parse(words: list[str]) -> None:
    """As the program would, without doing anything; a wrong option or value raises."""
    command = verbs_and_options()
    _, words = own_options(words)
    context = None
    while hasattr(command, "commands"):
        context = command.make_context(command.name, list(words), parent=context, resilient_parsing=True)
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, list(words), parent=context)


@pytest.mark.parametrize("verb", ["plan", "run", "show", "status", "report"])
def test_selection_settings_and_places_are_the_same_everywhere(verb: str, okdbench: Command) -> None:
    out = okdbench(verb, "--help").out
    for option in ("--dataset  -d", "--network  -n", "--method   -m", "--seed     -s"):
        assert option in out
    for option in ("--epochs", "--subset", "--set", "--smoke", "--results", "--data"):
        assert f" {option} " in out
    assert "OKDBENCH_RESULTS" in out and "OKDBENCH_DATA" in out


def test_version(okdbench: Command) -> None:
    assert re.fullmatch(r"okdbench \d+\.\d+\.\d+\n", okdbench("--version").out)


@pytest.mark.parametrize(
    "words", [("bogus",), ("run",), ("run", "quickstart", "--jobs", "0"), ("list", "x"), ("show", "quickstart", "--no")]
)
def test_wrong_usage_ends_with_2(words: tuple[str, ...], okdbench: Command) -> None:
    status, out, err = okdbench(*words)
    assert status == 2 and not out and err.startswith("Usage: ")

"""Commands that messages tell the user to type are typed here: none of them may fail with another error."""

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fabricate
import pytest
from commandline import TINY, Command, verbs_and_options

from okdbench import data
from okdbench.cli import settings
from okdbench.plan import expand
from okdbench.recipe import load

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stubbed", "tiny")]

VERBS = "|".join(sorted({words[0] for words in settings.verbs(verbs_and_options())}))
COMMAND = re.compile(rf'"(okdbench [^"]+)"|\b(okdbench (?:--plugin \S+ )?(?:{VERBS})\b(?: [^;,:"()│]+)?)')
"""A command in quotes, or one that ends with its part of the sentence."""
WRONG_USAGE = 2


def told(text: str) -> list[list[str]]:
    """The commands in what the program prints."""
    found = [quoted or plain for line in text.splitlines() for quoted, plain in COMMAND.findall(line)]
    return [shlex.split(each.partition("  ")[0])[1:] for each in found]


def nothing() -> None:
    """The scenario needs no preparation."""


def damaged_images() -> None:
    path = data.pack("digits", Path("data"))
    path.write_bytes(path.read_bytes()[:-100])


def damaged_record() -> None:
    run = expand(load("tiny.yaml")).runs[0]
    folder = fabricate.run(Path("results"), run.config, {"student": [1.0] * 4}, recipe="tiny")
    (folder / "record.json").write_text("{")


def changed_settings() -> None:
    from okdbench.plan import Selection

    for run in expand(load("tiny.yaml"), Selection(settings={"training.epochs": 2})).runs[:2]:
        fabricate.run(Path("results"), run.config, {"student": [1.0] * 2}, recipe="tiny")


def finished_elsewhere() -> None:
    Path("copy.yaml").write_text(TINY.read_text())
    run = expand(load("tiny.yaml")).runs[0]
    fabricate.run(Path("results"), run.config, {"student": [1.0] * 4}, recipe="copy")


def partly_unknown() -> None:
    text = TINY.read_text()
    Path("mine.yaml").write_text(text.replace("network: [resnet8]", "network: [resnet8, resnet9999]"))


def all_unknown() -> None:
    text = TINY.read_text()
    Path("mine.yaml").write_text(text.replace("network: [resnet8]", "network: [resnet9999]"))


def wrong_configuration() -> None:
    Path("okdbench.toml").write_text("job = 2\n")


SCENARIOS: list[tuple[Callable[[], None], str]] = [
    (nothing, ""),
    (nothing, "list"),
    (nothing, "show quickstrat"),
    (nothing, "show dkel-figure5 --cost"),
    (nothing, "run nowhere.yaml"),
    (nothing, "run quickstart -m dkell"),
    (nothing, "run quickstart -m dml,pcl"),
    (nothing, "run tiny.yaml -m baseline -s 0"),
    (nothing, "run quickstart -m baseline --dry-run"),
    (nothing, "run dkel-table1 -d cifar100 -n resnet32 -m baseline -s 0"),
    (nothing, "plan quickstart --hours 0"),
    (nothing, "plan quickstart --hours 1"),
    (nothing, "plan dkel-figure5 --hours 1"),
    (nothing, "status"),
    (nothing, "status quickstart"),
    (nothing, "status -m dkel"),
    (nothing, "report quickstart"),
    (nothing, "report"),
    (nothing, "leaderboard"),
    (nothing, "compare quickstart baseline dkel"),
    (nothing, "export 123456"),
    (nothing, "audit quickstart"),
    (nothing, "data list"),
    (nothing, "data verify cifar100"),
    (nothing, "data verify digits"),
    (nothing, "data verify tiny-imagenet-subset"),
    (nothing, "data fetch cifar-100"),
    (nothing, "data pack cifar10"),
    (nothing, "new recipe my-table"),
    (nothing, "copy quickstart mine.yaml"),
    (nothing, "copy quickstart mine"),
    (nothing, "validate nowhere"),
    (damaged_images, "doctor"),
    (damaged_images, "data verify"),
    (damaged_images, "run tiny.yaml"),
    (damaged_record, "status tiny.yaml"),
    (damaged_record, "run tiny.yaml -m baseline"),
    (changed_settings, "report tiny.yaml"),
    (changed_settings, "status tiny.yaml"),
    (finished_elsewhere, "status tiny.yaml"),
    (finished_elsewhere, "report tiny.yaml"),
    (partly_unknown, "run mine.yaml"),
    (all_unknown, "run mine.yaml"),
    (all_unknown, "validate mine.yaml"),
    (wrong_configuration, "list"),
]


@pytest.fixture
def no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """``data fetch`` downloads nothing; what it was called for can then be packed."""
    fetched, pack = set[str](), data.pack

    def get(name: str) -> data.Dataset:
        dataset = data.registry.get(name)
        return replace(dataset, fetch=lambda root: fetched.add(name)) if dataset.fetch else dataset

    def packed(name: str, root: Path, force: bool = False) -> Path:
        return root / "packed" / f"{name}.pt" if name in fetched else pack(name, root, force)

    monkeypatch.setattr("okdbench.data.get", get)
    monkeypatch.setattr("okdbench.data.pack", packed)


@pytest.mark.usefixtures("no_downloads")
@pytest.mark.parametrize(("prepare", "line"), SCENARIOS, ids=[f"{p.__name__} {line}" for p, line in SCENARIOS])
def test_what_messages_tell_to_type_can_be_typed(prepare: Callable[[], None], line: str, okdbench: Command) -> None:
    prepare()
    status, out, err = okdbench(*line.split())
    commands = [words for words in told(out + err) if not any(word.isupper() for word in words)]
    assert commands or status != WRONG_USAGE, f"an error that names no command: {err}"
    for words in commands:
        quick = ["--count"] if words[0] == "bench" else []
        again = okdbench(*words, *quick)
        assert again.status != WRONG_USAGE, f"okdbench {shlex.join(words)}: {again.err}"


def test_no_message_leaves_a_name_to_be_guessed(okdbench: Command) -> None:
    """Names in capitals stand only where the user must choose: none where a command without them would do."""
    for line in ("export 123456", "status", "show quickstrat"):
        _, out, err = okdbench(*line.split())
        assert not any(word.isupper() for words in told(out + err) for word in words), line


def takes_results(words: list[str]) -> bool:
    """Whether a command reads or writes runs: ``show`` prints the same without them, and every ``--help`` does."""
    if words[:1] == ["show"] or "--help" in words:
        return False
    verb = verbs_and_options()
    for word in words:
        if word not in getattr(verb, "commands", {}):
            break
        verb = verb.commands[word]
    return any("--results" in option.opts for option in verb.params)


@pytest.mark.parametrize("line", [line for prepare, line in SCENARIOS if prepare is nothing])
def test_commands_to_type_keep_the_results_folder(line: str, okdbench: Command) -> None:
    words = line.split()
    if not takes_results(words):
        pytest.skip("has no --results")
    _, out, err = okdbench(*words, "--results", "elsewhere")
    for each in told(out + err):
        assert not takes_results(each) or "elsewhere" in each, f"okdbench {shlex.join(each)}"

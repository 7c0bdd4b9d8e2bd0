"""Engines by name: those of okdbench and of plugins, and their settings."""

from pathlib import Path

import pytest
from commandline import Command
from pages import ROOT, files


def test_an_unknown_engine_is_answered_with_a_suggestion(okdbench: Command) -> None:
    status, _, err = okdbench("run", "quickstart", "--engine", "slrum")
    assert status == 2 and 'there is no engine "slrum"; did you mean "slurm"?' in err


@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["run", "dry-run"])
@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("[engine.slrum]\ntime = 1\n", (), 'okdbench.toml: [engine.slrum]: is no engine; did you mean "slurm"?'),
        ("[engines.slurm]\ntime = 1\n", (), 'okdbench.toml: [engines]: is no verb; did you mean "engine"?'),
        ("", ("--engine-option", "time"), "--engine-option time: give KEY=VALUE"),
    ],
)
def test_wrong_settings(
    okdbench: Command, tmp_path: Path, text: str, words: tuple[str, ...], message: str, more: tuple[str, ...]
) -> None:
    (tmp_path / "okdbench.toml").write_text(text)
    status, _, err = okdbench("run", "quickstart", *words, *more)
    assert status == 2 and message in " ".join(err.split())


def test_an_engine_of_a_plugin_gets_its_settings_from_file_and_command(okdbench: Command, tmp_path: Path) -> None:
    [(name, text)] = files((ROOT / "docs" / "add-an-engine.md").read_text()).items()
    head = "def make(request: Request) -> OneAtATime:\n"
    (tmp_path / name).write_text(
        text.replace(head, f"{head}    raise UsageError(str(sorted(request.settings.items())))\n")
    )
    (tmp_path / "okdbench.toml").write_text('[engine.one-at-a-time]\na = 1\nb = "x"\n')
    words = ("run", "quickstart", "--engine", "one-at-a-time", "--engine-option", "b=[2, 3]", "--engine-option", "c=y")
    status, _, err = okdbench("--plugin", name, *words)
    assert status == 2 and "[('a', 1), ('b', [2, 3]), ('c', 'y')]" in err

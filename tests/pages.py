"""Reading the documentation: pages, fenced blocks, tables, links, and the commands that they show."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commandline import verbs_and_options

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_NAMED = re.compile(r"^`(\S+\.(?:py|yaml))`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [body for _, name, body in _FENCE.findall(text) if name == language]


def files(text: str) -> dict[str, str]:
    """The files that a page gives: each a fenced block below a line with the file's name."""
    return dict(_NAMED.findall(text))


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return _FENCE.sub("", text)


def sections(text: str) -> dict[str, str]:
    """Text by heading (without the marks of code), up to the next heading of any level."""
    parts = re.split(r"^#+ +(.+)$", _FENCE.sub(lambda found: found[0].replace("\n#", "\n "), text), flags=re.MULTILINE)
    return {heading.replace("`", ""): body for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


def tables(text: str) -> list[list[dict[str, str]]]:
    """The tables, each as rows by column heading, without the marks of code and links."""
    found = []
    for lines in re.findall(r"(?:^\|.*\|\n)+", prose(text), re.MULTILINE):
        head, _, *rows = [
            [_LINK.sub(r"\1", cell.strip().replace("`", "")) for cell in line.strip("|").split("|")]
            for line in lines.splitlines()
        ]
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


def links(text: str) -> list[tuple[str, str]]:
    """Relative links as (path, anchor), either of them perhaps empty."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(text))
    return [(path, anchor) for path, _, anchor in (t.partition("#") for t in targets) if not leaves(path)]


def leaves(path: str) -> bool:
    """Whether a link leaves the repository."""
    return path.startswith(("http:", "https:", "mailto:"))


def anchors(text: str) -> set[str]:
    """What links may name on a page: its headings as GitHub writes them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in sections(text)}


def commands(text: str) -> Iterator[list[str]]:
    """The words behind ``okdbench`` of every command in a shell block or between backticks."""
    lines = [line for block in blocks(text, "bash") for line in block.replace("\\\n", " ").splitlines()]
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(text))]
    for line in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        if re.match(r"(python -m )?okdbench ", line):
            words = list(lexer)
            start = words.index("okdbench") + 1
            ends = [index for index, word in enumerate(words) if set(word) <= set(";&|<>()")]
            yield words[start : ends[0] if ends else None]


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The verb of a command and the values of its options; a wrong verb, option or value raises."""
    command = verbs_and_options()
    context = command.make_context("okdbench", list(words), resilient_parsing=True)
    verb = []
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        verb.append(rest[0])
        command = command.commands[rest[0]]
        context = command.make_context(
            rest[0], rest[1:], parent=context, resilient_parsing=hasattr(command, "commands")
        )
    return " ".join(verb), context.params

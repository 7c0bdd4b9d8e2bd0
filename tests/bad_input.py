"""What people, scripts and damaged disks give to okdbench that is wrong; docs/reliability.md is made from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

RECIPE = """\
title: A recipe
kind: training
grid: {dataset: digits, network: resnet8, method: [baseline, dml]}
seeds: [0]
training:
  epochs: 1
  batch_size: 32
  optimizer: {lr: 0.1}
  schedule: {name: cosine}
table: {rows: network, columns: method}
"""
SIMULATION = """\
title: A simulation
kind: simulation
variants: {plain: {trials: 10}}
"""
Content = str | bytes | Callable[[Path], object]


@dataclass(frozen=True)
class BadInput:
    """One wrong input: ``words`` are given to okdbench in a folder with ``files``; ``says`` is in its one line."""

    kind: str
    what: str
    words: tuple[str, ...]
    says: str
    files: Mapping[str, Content] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    lines: int = 1
    """Mistakes that the input has."""

    def prepare(self, folder: Path) -> None:
        """Put the files there."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif isinstance(content, str):
                path.write_text(content)
            else:
                content(path)


def recipe(what: str, content: Content, says: str, kind: str = "A recipe's text", lines: int = 1) -> BadInput:
    """A recipe file with this content."""
    return BadInput(kind, what, ("validate", "mine.yaml"), says, {"mine.yaml": content}, lines=lines)


def changed(what: str, old: str, new: str, says: str, lines: int = 1) -> BadInput:
    """The recipe with one piece replaced."""
    assert old in RECIPE
    return recipe(what, RECIPE.replace(old, new), says, "A recipe's values", lines)


def command(what: str, words: str, says: str, kind: str = "The command line", **more: object) -> BadInput:
    """Words of a command line, beside a good recipe."""
    return BadInput(kind, what, tuple(words.split(" ")), says, {"mine.yaml": RECIPE, **more.pop("files", {})}, **more)

"""A small valid recipe on disk that tests bend, and a method of which they know every setting."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field

from okdbench import methods
from okdbench.methods import Method, MethodConfig

Write = Callable[..., Path]

SECTIONS = {
    "title": "title: A table",
    "source": "source: {paper: A Paper, year: 2020, table: Table 1}",
    "kind": "kind: training",
    "grid": """
grid:
  dataset: [cifar10, cifar100]
  network: [resnet8, resnet20]
  method: [baseline, dml]
""",
    "seeds": "seeds: [0, 1]",
    "training": """
training:
  epochs: 4
  batch_size: 64
  optimizer: {lr: 0.1}
  schedule: {name: multistep, milestones: [2, 3]}
""",
    "table": "table: {rows: network, columns: method, panels: dataset}",
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a recipe: the small valid one with sections replaced (None leaves one out) and text added at the end."""

    def write(extra: str = "", name: str = "mine", **sections: str | None) -> Path:
        texts = {**SECTIONS, **sections}
        path = tmp_path / f"{name}.yaml"
        path.write_text("\n".join(text.strip("\n") for text in texts.values() if text is not None) + f"\n{extra}\n")
        return path

    return write


class FakeConfig(MethodConfig):
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {}, "released": {"alpha": 0.1, "peers": 4}}
    alpha: float = Field(default=0.5, gt=0)
    peers: int = 3


class Fake(Method):
    Config = FakeConfig
    deployed = "teacher0"


@pytest.fixture
def fake_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method "fake" beside the real ones, for the time of a test."""
    known = {**methods.available(), "fake": Fake}
    for module in (methods, methods.registry):
        monkeypatch.setattr(module, "available", lambda: known)

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commandline import Command
from json_page import require_documented

PUBLISHED = Path(__file__).parents[2] / "results" / "quickstart"


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two published runs in a results folder."""
    copies = [tmp_path / "theirs" / "quickstart" / path.name for path in sorted(PUBLISHED.glob("*.dkel.*"))[:2]]
    return [Path(shutil.copytree(PUBLISHED / copy.name, copy)) for copy in copies]


def change(folder: Path, metrics: Callable[[list[Any]], object] = len, record: Callable[[Any], object] = len) -> None:
    """Change what a run left, and hash its metrics again."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    metrics(lines)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    content = json.loads((folder / "record.json").read_text())
    content["metrics_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    record(content)
    (folder / "record.json").write_text(json.dumps(content))


def test_published_records_are_sound(okdbench: Command) -> None:
    done = okdbench("results", "verify", str(PUBLISHED.parent))
    assert (done.status, done.err) == (0, "")
    runs = len(list(PUBLISHED.parent.glob("*/*/record.json")))
    assert f"{PUBLISHED.parent}: {runs} runs sound" in done.out


@pytest.mark.parametrize(
    ("metrics", "record", "said"),
    [
        (
            lambda lines: lines[3]["heads"]["peer0"].update(top1=97.0, top5=99.71830985915493),
            len,
            "epoch 3, peer0: top-1 accuracy 97.0 is not that of a whole number of 355 images",
        ),
        (
            lambda lines: lines[1]["heads"]["peer1"].update(top5=lines[1]["heads"]["peer1"]["top1"] - 100 / 355),
            len,
            "epoch 1, peer1: top-5 accuracy",
        ),
        (lambda lines: lines[2].update(lr=0.1), len, "epoch 2 has learning rate 0.1, where the schedule has 0.05"),
        (lambda lines: lines[0]["heads"].pop("ensemble"), len, "epoch 0 has other heads than the record"),
        (lambda lines: lines.pop(), lambda content: content.update(epochs=3), "has 3 epochs, and is to have 4"),
        (
            len,
            lambda content: content["environment"].pop("torch"),
            "record.json does not say on what it was computed: no torch",
        ),
        (len, lambda content: content.update(deployed="peer9"), "the deployed head peer9 is none of its heads"),
    ],
)
def test_what_no_training_writes_is_named(
    folders: list[Path], metrics: Any, record: Any, said: str, okdbench: Command
) -> None:
    change(folders[0], metrics, record)
    done = okdbench("results", "verify", "theirs")
    assert done.status == 1
    assert f"{Path('theirs', 'quickstart', folders[0].name)}: {said}" in done.out
    assert "theirs: 1 run sound" in done.out


def test_metrics_of_another_run_and_another_configuration_are_named(folders: list[Path], okdbench: Command) -> None:
    shutil.copy(folders[1] / "config.json", folders[0] / "config.json")
    text = (folders[0] / "metrics.jsonl").read_text()
    (folders[1] / "metrics.jsonl").write_text(text)
    change(folders[1])
    change(folders[0])
    done = okdbench("results", "verify", "theirs")
    assert done.status == 1
    assert "config.json is not the configuration of the record" in done.out
    assert f"metrics.jsonl is that of {Path('theirs', 'quickstart', folders[0].name)}, another run" in done.out


def test_what_need_not_be_sent_and_what_is_not_finished_is_told(folders: list[Path], okdbench: Command) -> None:
    (folders[0] / "weights.pt").write_bytes(b"weights")
    (folders[1] / "record.json").unlink()
    done = okdbench("results", "verify", "theirs")
    assert done.status == 0
    assert "theirs: 1 run sound, 1 run not finished" in done.out
    assert "also holds weights.pt, which records do not need" in done.out
    out = okdbench("results", "verify", "theirs", "--format", "json").out
    require_documented(out, "okdbench.verification/1")
    assert "has no runs as DIR/RECIPE/RUN" in okdbench("results", "verify", "nowhere").err

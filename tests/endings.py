"""What two runs that should be equal to the bit have left behind."""

import json
from pathlib import Path

TIMINGS = {"seconds", "images_per_second"}


def lines(folder: Path) -> list[dict]:
    found = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMINGS} for line in found]


def record(folder: Path) -> dict:
    content = json.loads((folder / "record.json").read_text())
    del content["environment"]["jobs"]
    return {
        k: v
        for k, v in content.items()
        if k not in {"wall_seconds", "images_per_second", "peak_memory_bytes", "metrics_sha256"}
    }


def assert_same(left: Path, right: Path) -> None:
    assert lines(left) == lines(right)
    assert record(left) == record(right)
    assert not list(right.glob("checkpoint-*")), "a finished run keeps no checkpoint"

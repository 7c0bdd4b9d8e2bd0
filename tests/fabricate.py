"""Recipes and run folders made up for tests, with the accuracies that a test asks for."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import yaml

from okdbench.config import RunConfig
from okdbench.plan import Plan, Selection, expand
from okdbench.recipe import load
from okdbench.runs.heads import AVERAGE

RECIPE: dict[str, Any] = {
    "title": "A small table",
    "source": {"paper": "A paper", "year": 2023, "table": "Table 1"},
    "kind": "training",
    "grid": {"dataset": ["cifar100"], "network": ["resnet8", "resnet32"], "method": ["baseline", "dkel"]},
    "seeds": [0, 1, 2],
    "training": {
        "epochs": 2,
        "batch_size": 128,
        "optimizer": {"lr": 0.1},
        "schedule": {"name": "multistep", "milestones": [1]},
    },
    "protocol": {"default": {"head": "student", "epoch": "best"}},
    "table": {"rows": "network", "columns": "method", "names": {"resnet32": "ResNet-32", "dkel": "DKEL"}},
}


def plan(folder: Path, selection: Selection | None = None, **changes: Any) -> Plan:
    """`RECIPE` with some keys replaced, written to ``folder``/small.yaml, loaded and expanded."""
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return expand(load(path), selection)


def run(
    results: Path,
    config: RunConfig,
    heads: Mapping[str, Sequence[float]],
    status: str = "finished",
    deployed: str = "student",
    reason: str = "loss is not finite",
    recipe: str = "small",
    **more: Any,
) -> Path:
    """A run's folder under ``results``/``recipe`` with top-1 accuracies [epoch] of each head; no record unless done.

    ``reason`` is why a diverged run ended; ``more`` replaces or adds entries of the record.
    """
    folder = results / recipe / config.folder
    folder.mkdir(parents=True)
    epochs = len(next(iter(heads.values())))
    (folder / "config.json").write_text(json.dumps(config.model_dump(mode="json")))
    lines = [
        json.dumps(line(epoch, {head: values[epoch] for head, values in heads.items()})) for epoch in range(epochs)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{text}\n" for text in lines))
    if status in ("finished", "diverged"):
        record = {
            "id": config.id,
            "status": status,
            "reason": None if status == "finished" else reason,
            "config": config.model_dump(mode="json"),
            "heads": list(heads),
            "deployed": deployed,
            "epochs": epochs,
            "environment": {"okdbench": "0", "device": "cpu"},
            "wall_seconds": 1.0,
            **more,
        }
        (folder / "record.json").write_text(json.dumps(record))
    return folder


def table(results: Path, plan: Plan, epochs: int) -> int:
    """Finished runs of every cell of a plan, near the printed numbers; return how many there are.

    The heads of the cells' protocols have an accuracy that rises in half of the ``epochs``.
    """
    ends: dict[str, dict[str, float]] = {}  # of every run, of each head
    for cell in plan.cells:
        end = cell.reported.mean if cell.reported else 50.0
        end = 100 - end if cell.reported and cell.reported.metric == "error" else end
        head = cell.protocol.head.resolve_deployed("student")
        name = re.sub(r"[?*]", "0", head.pattern) + (AVERAGE if head.averaged else "")
        for each in cell.runs:
            ends.setdefault(each.id, {}).setdefault(name, end)
    configs = {each.id: each.config for cell in plan.cells for each in cell.runs}
    for id, heads in ends.items():
        random = Random(id)
        curves = {name: _curve(end + random.gauss(0, 0.3), epochs, random) for name, end in heads.items()}
        run(results, configs[id], curves, recipe=plan.recipe.name, deployed=next(iter(curves)))
    return len(ends)


def _curve(last: float, epochs: int, random: Random) -> list[float]:
    return [
        last * min(1, 0.3 + 1.4 * epoch / epochs) + random.gauss(0, 0.2) * (epoch + 1 < epochs)
        for epoch in range(epochs)
    ]


def measurement(
    results: Path, name: str, config: RunConfig, images_per_second: float, device: str = "Some GPU"
) -> None:
    """A file of ``okdbench bench`` under ``results``."""
    folder = results / "bench" / device.lower().replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    content = {"device": device, "images_per_second": images_per_second, "config": config.model_dump(mode="json")}
    (folder / f"{name}.json").write_text(json.dumps(content))


def line(epoch: int, top1: Mapping[str, float]) -> dict[str, Any]:
    """One line of metrics."""
    others = {"top5": 100.0, "ce": 1.5, "ece": 2.5, "max_logit": 3.5}
    heads = {head: {"top1": value, **others} for head, value in top1.items()}
    return {"epoch": epoch, "lr": 0.1, "losses": {"ce": 2.0}, "heads": heads, "seconds": 1.0, "images_per_second": 9.0}

"""All runs as one pandas frame, one row per run, head and epoch."""

import json
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from okdbench.files import read_json
from okdbench.runs.folder import CONFIG, RECORD
from okdbench.runs.records import StoredRun, read_run

COLUMNS = (
    *("recipe", "run", "status", "dataset", "network", "method", "settings", "seed", "head", "epoch"),
    *("top1", "top5", "ce", "ece"),
)


def frame(results: Path, recipe: str | None = None) -> pd.DataFrame:
    """Every epoch of every training under ``results`` (of one recipe, or of all), finished or not.

    Columns are `COLUMNS` and any further metric that a head recorded; ``settings`` is the method's own settings as
    JSON, ``status`` the run's state; top1, top5 and ece are in percent. Sorted by recipe, run folder, epoch and head
    as recorded; without a run the frame is empty. UsageError names a damaged file.
    """
    folders = [results / recipe] if recipe else sorted(path for path in results.glob("*") if path.is_dir())
    rows = [
        row
        for folder in folders
        for run in sorted(folder.glob("*"))
        if _is_training(run)
        for row in _rows(folder.name, read_run(run))
    ]
    table = pd.DataFrame(rows, columns=None if rows else list(COLUMNS))
    return table[[*COLUMNS, *(name for name in table.columns if name not in COLUMNS)]]


def accuracy(run: StoredRun, images: Literal["heads", "validation"] = "heads") -> pd.DataFrame:
    """The run's top-1 accuracy in percent: one row per epoch (index 0, 1, ...), one column per head.

    On the test images, or on those held out for validation.
    """
    rows = [{head: metrics["top1"] for head, metrics in entry[images].items()} for entry in run.metrics]
    return pd.DataFrame(rows, dtype=float)


def _is_training(folder: Path) -> bool:
    """Whether the folder is a run's, and not a simulation's; what is damaged counts, so that reading it says so."""
    try:
        return bool(read_json(folder / CONFIG).get("kind") != "simulation")
    except (ValueError, AttributeError):
        return True
    except OSError:
        return (folder / RECORD).exists()


def _rows(recipe: str, run: StoredRun) -> list[dict[str, Any]]:
    config = run.config
    same = {
        "recipe": recipe,
        "run": config.id,
        "status": run.state,
        "dataset": config.dataset,
        "network": config.network,
        "method": config.method,
        "settings": json.dumps(config.settings, sort_keys=True),
        "seed": config.seed,
    }
    blank = dict.fromkeys(("top5", "ce", "ece"))
    return [
        {**same, "head": head, "epoch": entry["epoch"], **blank, **metrics}
        for entry in run.metrics
        for head, metrics in entry["heads"].items()
    ]

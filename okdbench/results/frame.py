"""All runs as one pandas frame, one row per run, head and epoch."""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from okdbench.config import LearningConfig
from okdbench.errors import UsageError
from okdbench.runs.folder import RunFolder
from okdbench.runs.records import HeadMetrics

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("recipe", "run", "status", "kind", "dataset", "network", "method", "settings", "seed", "head", "epoch"),
    *HeadMetrics.model_fields,
)


class DamagedRun(UserWarning):
    """A run is left out because a file of it is damaged."""


def frame(results: Path, recipe: str | None = None) -> "pd.DataFrame":
    """Return every epoch of every training and probe under ``results`` (of one recipe, or of all), finished or not.

    Columns are `COLUMNS` and any further metric that a head recorded; ``settings`` is the method's own settings as
    JSON, ``status`` the run's state; top1, top5 and ece are in percent. Sorted by recipe, run folder, epoch and head
    as recorded; without a run the frame is empty. A damaged run has no rows; a `DamagedRun` warning names its file and
    the remedy.
    """
    import pandas as pd

    recipes = [results / recipe] if recipe else sorted(path for path in results.glob("*") if path.is_dir())
    folders = [RunFolder(path) for recipe in recipes for path in sorted(recipe.glob("*"))]
    rows: list[dict[str, Any]] = []
    for folder in folders:
        try:
            rows += _rows(folder) if folder.exists else ()
        except UsageError as error:
            warnings.warn(str(error), DamagedRun, stacklevel=2)
    table = pd.DataFrame(rows, columns=None if rows else list(COLUMNS))
    return table[[*COLUMNS, *(name for name in table.columns if name not in COLUMNS)]]


def _rows(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the epochs of a run that learns; nothing for another."""
    config = folder.config
    if not isinstance(config, LearningConfig):
        return []
    same = {
        "recipe": folder.recipe,
        "run": config.id,
        "status": folder.state.value,
        "kind": config.kind,
        "dataset": config.dataset,
        "network": config.network,
        "method": config.method,
        "settings": json.dumps(config.settings, sort_keys=True),
        "seed": config.seed,
    }
    return [
        {**same, "head": head, "epoch": epoch.epoch, **metrics.model_dump()}
        for epoch in folder.epochs
        for head, metrics in epoch.heads.items()
    ]

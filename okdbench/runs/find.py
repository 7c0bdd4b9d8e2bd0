"""Finding runs: all of a results folder, or one by what a person types."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from okdbench.errors import UsageError
from okdbench.runs.folder import MEASUREMENTS, RunFolder

SHOWN = 5


def runs_below(results: Path) -> Iterator[RunFolder]:
    """Yield the runs of a results folder, by recipe and name."""
    folders = (RunFolder(path) for path in sorted(results.glob("*/*")) if path.parent.name != MEASUREMENTS)
    yield from (folder for folder in folders if folder.exists)


def find_run(text: str, results: Path) -> RunFolder:
    """Return the run that ``text`` names: the path of its folder, or the beginning of its id or of its folder's name.

    Where several recipes have the run, one that has its weights is returned. Raise UsageError if there is no such run
    below ``results``, or if the beginning fits several.
    """
    if (named := RunFolder(Path(text))).exists:
        return named
    folders = [RunFolder(path) for path in sorted(results.glob("*/*")) if _fits(path.name, text)] if text else []
    found = [folder for folder in folders if folder.exists]
    names = sorted({folder.path.name for folder in found})
    if not names:
        raise UsageError(f'{results}: no run whose id or folder begins with "{text}"; {_where_ids_are(results)}')
    if len(names) > 1:
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        raise UsageError(f'"{text}" is the beginning of {len(names)} runs ({shown}); write more of it')
    return next((folder for folder in found if folder.weights.exists()), found[0])


def _fits(name: str, text: str) -> bool:
    """Return whether a folder's name, or the id at its end, begins with the text."""
    return name.startswith(text) or name.rpartition(".")[2].startswith(text)


def _where_ids_are(results: Path) -> str:
    """Return which command lists the ids of the runs that are there."""
    recipes = sorted({folder.path.parent.name for folder in runs_below(results)})
    if not recipes:
        return "there are none yet; a first table: okdbench run quickstart"
    others = f", and likewise those of {', '.join(recipes[1 : SHOWN + 1])}" if len(recipes) > 1 else ""
    return f"to list the ids: {shlex.join(['okdbench', 'run', recipes[0], '--dry-run'])}{others}"

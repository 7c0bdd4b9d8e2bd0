"""Finding runs: all of a results folder, or one by what a person types."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from okdbench.errors import UsageError
from okdbench.runs.folder import MEASUREMENTS, RunFolder

SHOWN = 5


def runs_below(results: Path, sent: bool = False) -> Iterator[RunFolder]:
    """Yield the runs of a results folder, by recipe and name; ``sent``: somebody else's."""
    folders = (RunFolder(path, sent) for path in sorted(results.glob("*/*")) if path.parent.name != MEASUREMENTS)
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
        raise _no_such_run(text, results)
    if len(names) > 1:
        raise UsageError(f'"{text}" is the beginning of {len(names)} runs ({_some(names)}); write more of it')
    return next((folder for folder in found if folder.weights.exists()), found[0])


def _fits(name: str, text: str) -> bool:
    """Return whether a folder's name, or the id at its end, begins with the text."""
    return name.startswith(text) or name.rpartition(".")[2].startswith(text)


def _no_such_run(text: str, results: Path) -> UsageError:
    """Return the error that names the recipes with runs, and the command that lists the ids of one's."""
    message = f'{results}: no run whose id or folder begins with "{text}"'
    recipes = sorted({folder.path.parent.name for folder in runs_below(results)})
    where = ("--results", str(results))
    if not recipes:
        return UsageError(f"{message}; there are none yet", then=("run", "quickstart", *where))
    return UsageError(
        f"{message}; a dry run lists the ids of a recipe's: {_some(recipes)}",
        then=("run", recipes[0], "--dry-run", *where),
    )


def _some(names: Sequence[str]) -> str:
    """Return the first names, and dots where there are more."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")

"""Finding recipes on disk and reading them: either a valid recipe, or every mistake at once."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import okdbench
from okdbench import kinds, plugins
from okdbench.errors import UsageError, did_you_mean
from okdbench.recipe.document import RecipeFile, content_of, shown_name
from okdbench.recipe.header import RecipeHeader
from okdbench.recipe.inheritance import laid_over
from okdbench.recipe.problems import Problem, dotted
from okdbench.runs.folder import MEASUREMENTS

EXTENDS = "extends"
"""The key that names a recipe over which the file is laid."""
SHOWN = 50
"""Mistakes that are listed."""
LONGEST_NAME = 200
"""Bytes of a recipe's name: with what files beside it add to it, file systems allow 255."""


def available() -> dict[str, Path]:
    """Return the recipes that come with the package by name (the file's stem), sorted."""
    package = Path(okdbench.__file__).parent
    inside = package / "recipes"
    folder = inside if inside.is_dir() else package.parent / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(name_or_path: str | Path) -> Path:
    """Return a recipe's file, by name or by path; raise UsageError with a suggestion if there is none."""
    name = str(name_or_path)
    shipped = available()
    if name in shipped:
        return shipped[name]
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or path.name != name:
        raise UsageError(
            f"{name}: there is no such file; give a recipe's .yaml file or its name", then=("list", "recipes")
        )
    raise UsageError(f'unknown recipe "{name}": {did_you_mean(name, shipped)}', then=("list", "recipes"))


def content_key(name_or_path: str | Path | None = None) -> str | None:
    """Return a hash of the files that tell, with okdbench's code, all about a recipe, or about all that come with it.

    None if there may be more to it: a plugin, or a file that a recipe of one's own extends; or if it cannot be read.
    """
    files = list(available().values())
    own = find(name_or_path) if name_or_path else None
    if own and own not in files:
        try:
            extends = EXTENDS.encode() in content_of(own)
        except UsageError:
            return None
        if extends or plugins.exist():
            return None
        files.append(own)
    digest = hashlib.sha256(shown_name(own).encode() if own else b"")
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def load(name_or_path: str | Path) -> RecipeHeader:
    """Return the recipe of that name or file; raise UsageError with a line for each mistake, in file order."""
    document = RecipeFile(find(name_or_path))
    _require_folder_name(document)
    raw = _extended(document, (document.path.resolve(),))
    kind = raw.get("kind", kinds.DEFAULT_KIND)
    recipe, problems = kinds.get(kind).read(raw) if kind in kinds.available() else (None, _of_unknown_kind(raw))
    if recipe is None or problems or document.duplicates:
        words = ("validate", document.name)
        raise UsageError("\n".join(_lines(document, problems)), then=words)
    return recipe.named(document.path.stem, lambda where: f"{document.name}:{document.line(where)}: ")


def _extended(document: RecipeFile, chain: tuple[Path, ...]) -> dict[str, Any]:
    """Return the content of a file; where it extends a recipe, laid over that recipe's (see `laid_over`).

    ``chain`` are the files that extend one another, this one last.
    """
    raw = document.data
    if not isinstance(raw, dict):
        raise UsageError(f"{document.name}: must be a mapping with the keys {', '.join(RecipeHeader.model_fields)} ...")
    own = {key: value for key, value in raw.items() if key != EXTENDS}
    if EXTENDS not in raw:
        return own
    place = f"{document.name}:{document.line((EXTENDS,))}: {EXTENDS}"
    name = raw[EXTENDS]
    if not isinstance(name, str):
        raise UsageError(f"{place}: must be the name of a recipe, or a file beside this one")
    beside = document.path.parent / name
    try:
        base = beside if beside.is_file() else find(name)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None
    if base.resolve() in chain:
        raise UsageError(f"{place}: {name} extends this recipe; let one of them stand alone")
    return laid_over(_extended(RecipeFile(base), (*chain, base.resolve())), own)


def _require_folder_name(document: RecipeFile) -> None:
    """Raise UsageError unless a folder of results can be called as the file is."""
    name = document.path.stem
    if name.startswith(".") or name == MEASUREMENTS or not name.isprintable() or len(os.fsencode(name)) > LONGEST_NAME:
        raise UsageError(
            f"{document.name}: the runs of a recipe go to a folder of its name, which cannot be {name:.40}; "
            "rename the file, for instance mine.yaml"
        )


def _of_unknown_kind(raw: Mapping[str, Any]) -> list[Problem]:
    """Return the mistake in ``kind``; if that is a slip, also those that the file has as one of the kind it fits best.

    Otherwise the kind may be one of a plugin that was not named, and what the file should have is not known.
    """
    what = f'there is no "{raw["kind"]}"; {plugins.suggest(str(raw["kind"]), kinds.available())}'
    wrong = Problem(("kind",), what)
    if plugins.FORGOTTEN in what:
        return [wrong]
    others = [kinds.get(kind).read({**raw, "kind": kind})[1] for kind in kinds.available()]
    return [wrong, *min(others, key=len)]


def _lines(document: RecipeFile, problems: Iterable[Problem]) -> list[str]:
    """Return one line for each different mistake, in the order of the file."""
    found = [
        (double.line, f'key "{double.key}" appears twice (first in line {double.first_line}); keep one')
        for double in document.duplicates
    ]
    for where, what in dict.fromkeys(problems):
        found.append((document.line(where), f"{dotted(where)}: {what}" if where else what))
    lines = [f"{document.name}:{line}: {text}" for line, text in sorted(found, key=lambda item: item[0])]
    more = len(lines) - SHOWN
    return lines if more <= 0 else [*lines[:SHOWN], f"{document.name}: {more:,} more mistakes; correct these first"]

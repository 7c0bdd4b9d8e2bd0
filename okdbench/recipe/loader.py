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
from okdbench.recipe.likeness import only_alike
from okdbench.recipe.problems import Problem, Where, dotted
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
    try:
        path = Path(name_or_path).expanduser()
        if path.is_file():
            return path
    except (OSError, RuntimeError, ValueError) as error:  # a user or a file that cannot be
        raise UsageError(f"{name:.60}: cannot be read ({error}); give a recipe's .yaml file or its name") from None
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
        raise UsageError("\n".join(_lines(document, problems, raw)), then=words)
    return recipe.named(document.path.stem, lambda where: f"{document.name}:{document.line(where)}: ")


def bases(name_or_path: str | Path) -> tuple[Path, ...]:
    """Return the files that a valid recipe extends, directly or through one another, the nearest first."""
    document, found = RecipeFile(find(name_or_path)), list[Path]()
    while EXTENDS in document.data:
        found.append(_base(document, document.data[EXTENDS]))
        document = RecipeFile(found[-1])
    return tuple(found)


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
    base = _base(document, raw[EXTENDS])
    place = f"{document.name}:{document.line((EXTENDS,))}: {EXTENDS}"
    if base.resolve() in chain:
        raise UsageError(f"{place}: {raw[EXTENDS]} extends this recipe; let one of them stand alone")
    extended = RecipeFile(base)
    if extended.duplicates:
        raise UsageError("\n".join(_lines(extended, [], {})))
    content = _extended(extended, (*chain, base.resolve()))
    return only_alike(content, laid_over(content, own), own)


def _base(document: RecipeFile, name: Any) -> Path:
    """Return the file that a file extends, which is beside it or comes with the package; raise UsageError for none."""
    place = f"{document.name}:{document.line((EXTENDS,))}: {EXTENDS}"
    if not isinstance(name, str):
        raise UsageError(f"{place}: must be the name of a recipe, or a file beside this one")
    try:
        beside = document.path.parent / Path(name).expanduser()
        if beside.is_file():
            return beside
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"{place}: {name:.60} cannot be read ({error}); name a recipe, or a file beside this"
        ) from None
    if name not in available():
        known = [*available(), *(path.name for path in document.path.parent.glob("*.yaml") if path != document.path)]
        raise UsageError(f'{place}: unknown recipe "{name}": {did_you_mean(name, known)}')
    return available()[name]


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


def _lines(document: RecipeFile, problems: Iterable[Problem], content: Mapping[str, Any]) -> list[str]:
    """Return one line for each different mistake, in the order of the file; those of what it extends come last.

    ``content`` is that of the file with what it takes over.
    """
    found = [
        (False, double.line, f'key "{double.key}" appears twice (first in line {double.first_line}); keep one')
        for double in document.duplicates
    ]
    for where, what in dict.fromkeys(problems):
        text = f"{dotted(where)}: {what}" if where else what
        if _is_inherited(where, document.data, content):
            found.append((True, document.line((EXTENDS,)), f"{EXTENDS} {document.data[EXTENDS]}: {text}"))
        else:
            found.append((False, document.line(where), text))
    lines = [f"{document.name}:{line}: {text}" for _, line, text in sorted(found, key=lambda item: item[:2])]
    more = len(lines) - SHOWN
    return lines if more <= 0 else [*lines[:SHOWN], f"{document.name}: {more:,} more mistakes; correct these first"]


def _is_inherited(where: Where, own: Any, content: Any) -> bool:
    """Return whether what stands at ``where`` was taken over: the content has it, and the ``own`` file does not."""
    for part in where:
        if not isinstance(own, dict) or not isinstance(content, dict):
            return False
        if part not in own:
            return part in content
        own, content = own[part], content.get(part)
    return False

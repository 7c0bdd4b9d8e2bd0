"""``okdbench copy``: a copy of a recipe to change."""

import os
from pathlib import Path
from typing import Annotated

import typer

from okdbench.cli.options import RecipeName, command
from okdbench.cli.output import say
from okdbench.errors import UsageError


def copy(
    recipe: RecipeName,
    dest: Annotated[
        str,
        typer.Argument(
            metavar="DEST", parser=os.path.expanduser, help="A new .yaml file, or a folder (ending in / if new)."
        ),
    ],
) -> None:
    """Copy a recipe's YAML to a file of your own.

    Use the path of your copy wherever a recipe's name is expected.

    Examples:
      okdbench copy quickstart mine.yaml
      okdbench copy dkel-table1 recipes-of-mine/
    """
    from okdbench.recipe import find

    source = find(recipe)
    target = Path(dest, source.name) if dest.endswith("/") or Path(dest).is_dir() else Path(dest)
    if target.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{target}: a recipe's file ends in .yaml; write {target}.yaml, or {target}/ for a folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(source.read_bytes())
    except FileExistsError:
        raise UsageError(f"{target}: exists already and is not overwritten; choose another name") from None
    except OSError as error:
        raise UsageError(f"{target}: cannot be written ({error.strerror}); choose another place") from None
    say(f"{target} written; change it, then")
    say(f"  {command('validate', str(target))}")
    say(f"  {command('run', str(target))}")

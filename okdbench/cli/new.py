"""``okdbench new``: starting files for a method or a recipe of one's own."""

import datetime
import re
import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from okdbench.cli.options import command
from okdbench.cli.output import say
from okdbench.errors import UsageError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

app = typer.Typer(help="Write a starting file of your own.", no_args_is_help=True, rich_markup_mode="rich")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits and -.")]


@app.command("method")
def new_method(name: NameArgument) -> None:
    """Write a method that works and says how to change it: NAME.py.

    It keeps the contract of methods and is used as a plugin. Nothing is
    overwritten.

    Examples:
      okdbench new method my-idea
    """
    from okdbench.methods import available

    _require_name(name)
    if name in available():
        raise UsageError(f"{name}: is the name of a method of okdbench; choose another name")
    module = name.replace("-", "_")
    values = {
        "name": name,
        "module": module,
        "file": f"{module}.py",
        "title": name.upper(),
        "class_name": "".join(part.capitalize() for part in name.split("-")),
        "year": datetime.datetime.now(tz=datetime.UTC).year,
    }
    path = _write(Path(f"{module}.py"), "method.py.txt", values)
    recipe = Path(f"{name}.yaml")
    say(f"{path} written; change it, then")
    say(f"  {command('new', 'recipe', name, '-m', 'baseline', '-m', name, '--plugin', str(path))}")
    say(f"  {command('run', str(recipe), '--plugin', str(path), '--smoke')}")


@app.command("recipe")
def new_recipe(
    name: NameArgument,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", "-m", metavar="NAME", help="A method to compare; repeatable.", show_default="baseline and dml"
        ),
    ] = None,
) -> None:
    """Write a recipe that works and says how to change it: NAME.yaml.

    Nothing is overwritten. A method of your own needs its --plugin.

    Examples:
      okdbench new recipe my-table
      okdbench new recipe my-table -m baseline -m dml -m dkel
    """
    from okdbench.methods import configure

    _require_name(name)
    methods = method or ["baseline", "dml"]
    for each in methods:
        configure(each, {})  # raises UsageError where there is no such method or preset
    path = Path(f"{name}.yaml")
    title = name.replace("-", " ").capitalize()
    values = {"file": shlex.quote(str(path)), "title": title, "methods": ", ".join(methods), "reference": methods[0]}
    _write(path, "recipe.yaml.txt", values)
    say(f"{path} written; change it, then")
    say(f"  {command('validate', str(path))}")
    say(f"  {command('run', str(path), '--smoke')}")


def _require_name(name: str) -> None:
    if not NAME.fullmatch(name):
        stem = re.sub(r"\.(py|ya?ml)$", "", name.lower())  # the ending of the file that is written
        example = re.sub(r"[^a-z0-9]+", "-", stem).strip("-0123456789") or "my-idea"
        raise UsageError(f'"{name}": a name has small letters, digits and -, and begins with a letter: {example}')


def _write(path: Path, template: str, values: Mapping[str, object]) -> Path:
    """Write the filled template; raise UsageError rather than overwrite."""
    text = Template(files("okdbench.cli").joinpath("starting", template).read_text(encoding="utf-8"))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text.substitute(values))
    except FileExistsError:
        raise UsageError(f"{path}: exists already and is not overwritten; choose another name") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); go to another folder") from None
    return path

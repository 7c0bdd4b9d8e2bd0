"""``okdbench validate``: every mistake in a recipe at once."""

from typing import Annotated, Any

import typer

from okdbench.cli import complete
from okdbench.cli.options import FormatOption, TextOrJson
from okdbench.cli.output import print_to_stderr, say, say_json
from okdbench.cli.plans import Judged, judged
from okdbench.words import count

ALL = "all"


def validate(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME|PATH",
            help="Recipes' names, paths of YAML files, or all.",
            show_default=ALL,
            autocompletion=complete.recipes,
        ),
    ] = None,
    format: FormatOption = TextOrJson.text,
) -> None:
    """Check recipes, and report every mistake at once with its place in the file.

    Nothing is trained. Exit status 2 if a recipe is invalid.

    Examples:
      okdbench validate
      okdbench validate dkel-table1 dkel-table2
      okdbench validate mine.yaml
      okdbench validate --format json
    """
    from okdbench.recipe import available, find

    given = recipes or [ALL]
    every = available() if ALL in given else ()
    names = [name for name in dict.fromkeys((*every, *given)) if name != ALL]
    for name in names:
        find(name)
    found: dict[str, Judged] = {}
    for name in names:
        found[name] = judged(name)
        if format is TextOrJson.text:
            _print(name, found[name])
    invalid = sum(bool(each.mistakes) for each in found.values())
    if format is TextOrJson.json:
        say_json("okdbench.validate/1", {"recipes": [_facts(name, each) for name, each in found.items()]})
    elif invalid:
        print_to_stderr(f"{invalid} of {count(len(names), 'recipe')} invalid")
    if invalid:
        raise typer.Exit(2)


def _print(name: str, found: Judged) -> None:
    if found.mistakes:
        print_to_stderr(found.mistakes)
        return
    say(f"ok  {name}: {count(found.cells, 'cell')}, {count(found.runs, 'run')}")
    for reason in found.cannot_run:
        say(f"    cannot run: {reason}")


def _facts(name: str, found: Judged) -> dict[str, Any]:
    return {"recipe": name, "valid": not found.mistakes, **found._asdict(), "mistakes": found.mistakes.splitlines()}

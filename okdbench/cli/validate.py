"""``okdbench validate``: every mistake in a recipe at once."""

from typing import Annotated, Any

import typer

from okdbench.cli import complete
from okdbench.cli.options import FormatOption, TextOrJson
from okdbench.cli.output import count, print_to_stderr, say, say_json
from okdbench.cli.plans import Judged, judged

ALL = "all"


def validate(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="NAME|PATH|all",
            help="A recipe's name, the path of a YAML file, or all.",
            autocompletion=complete.recipes,
        ),
    ] = ALL,
    format: FormatOption = TextOrJson.text,
) -> None:
    """Check recipes, and report every mistake at once with its place in the file.

    Nothing is trained. Exit status 2 if a recipe is invalid.

    Examples:
      okdbench validate
      okdbench validate dkel-table1
      okdbench validate mine.yaml
      okdbench validate --format json
    """
    from okdbench.recipe import available, find

    if recipe != ALL:
        find(recipe)
    names = list(available()) if recipe == ALL else [recipe]
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

"""``okdbench validate``: every mistake in a recipe at once."""

from typing import Annotated

import typer

from okdbench.cli import complete
from okdbench.cli.output import count, print_to_stderr, say
from okdbench.cli.plans import judged

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
) -> None:
    """Check recipes, and report every mistake at once with its place in the file.

    Nothing is trained. Exit status 2 if a recipe is invalid.

    Examples:
      okdbench validate
      okdbench validate dkel-table1
      okdbench validate mine.yaml
    """
    from okdbench.recipe import available, find

    if recipe != ALL:
        find(recipe)
    names = list(available()) if recipe == ALL else [recipe]
    invalid = 0
    for name in names:
        found = judged(name)
        invalid += bool(found.mistakes)
        if found.mistakes:
            print_to_stderr(found.mistakes)
        for line in found.lines:
            say(line)
    if invalid:
        print_to_stderr(f"{invalid} of {count(len(names), 'recipe')} invalid")
        raise typer.Exit(2)

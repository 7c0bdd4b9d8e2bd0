"""``okdbench audit``: published numbers against each other."""

from typing import Annotated

import typer

from okdbench.cli import complete, options
from okdbench.cli.output import chosen_format, write_content

RecipeArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RECIPE",
        help="Only findings on this recipe (a name or a YAML file).",
        show_default="all recipes",
        autocompletion=complete.recipes,
    ),
]


def audit(
    recipe: RecipeArgument = None,
    format: options.ReportFormatOption = None,
    output: options.OutputOption = None,
    results: options.ResultsOption = options.DEFAULT_RESULTS,
) -> None:
    """Check published numbers against each other; nothing is trained.

    Compares the numbers that recipes report with the claims of their papers,
    with the same cells in other tables and with the noise of repeated runs,
    and lists what was chosen on the test set. Claims are judged on your own
    runs as well, where there are some. The exit status is always 0.

    Examples:
      okdbench audit
      okdbench audit dkel-table1
      okdbench audit dkel-table4 --format markdown -o audit.md
    """
    from okdbench.recipe import available, load
    from okdbench.report.audit import AuditReport
    from okdbench.studies.audit import audit

    form = chosen_format(format, output)
    own = load(recipe) if recipe else None
    known = {name: load(name) for name in available()}
    if own:
        known[own.name] = own
    findings = audit(tuple(known.values()), own.name if own else None, results)
    write_content(AuditReport(findings), form, output)

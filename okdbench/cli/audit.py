"""``okdbench audit``: published numbers against each other."""

from typing import Annotated

from okdbench.cli import options
from okdbench.cli.output import chosen_format, write_content

RecipeArgument = Annotated[
    str | None, options.one_recipe("Only findings on this recipe (a name or a YAML file).", "all recipes")
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
    from okdbench.recipe import available, bases, find, load
    from okdbench.report.audit import AuditReport
    from okdbench.studies.audit import audit, judged_on_runs, published

    form = chosen_format(format, output)
    if recipe and find(recipe) not in available().values():
        own = load(recipe)
        same = bases(recipe)  # whose numbers it repeats
        others = (load(name) for name, file in available().items() if name != own.name and file not in same)
        findings = judged_on_runs(audit((*others, own), own.name), results, lambda name: own)
    else:
        name = find(recipe).stem if recipe else ""
        findings = tuple(each for each in published() if not name or name in each.recipes)
        findings = judged_on_runs(findings, results)
    write_content(AuditReport(findings), form, output)

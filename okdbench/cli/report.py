"""``okdbench report``: our numbers beside the paper's."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from okdbench.cli import options
from okdbench.cli.options import Choices, Places, command, grouped, results_arguments
from okdbench.cli.output import print_to_stderr, write_content
from okdbench.cli.plans import damaged_runs, done_elsewhere, to_show, to_take_over, with_changed_settings
from okdbench.cli.report_options import (
    FigureFormat,
    FigureOptions,
    InsteadOptions,
    PageOptions,
    ProtocolName,
    ReadingOptions,
)
from okdbench.errors import UsageError
from okdbench.words import count

if TYPE_CHECKING:
    from okdbench.kinds import AnyReport

NOT_REPRODUCED = 1


RecipeOrAll = Annotated[str | None, options.one_recipe("A recipe's name or file.", "all that have results")]
CheckOption = Annotated[
    bool, typer.Option("--check", help="Exit status 1 unless every cell with a reported number is reproduced.")
]


@grouped
def report(
    choices: Choices,
    places: Places,
    reading: ReadingOptions,
    page: PageOptions,
    drawn: FigureOptions,
    instead: InsteadOptions,
    recipe: RecipeOrAll = None,
    check: CheckOption = False,
) -> None:
    """Print a recipe's table: our numbers, the paper's, and verdicts.

    A simulation's table says which claims of the paper hold. If the recipe has
    a figure, it is drawn as well; --figures draws all others too.

    Runs with changed settings appear when the options are the same as those of
    run; they are never compared with the paper.

    Examples:
      okdbench report quickstart
      okdbench report quickstart --open
      okdbench report dkel-table1 -o table1.tex
      okdbench report dkel-table1 --style paper --fragment -o table1.tex
      okdbench report dkel-table1 -m baseline -m dkel --protocol last --check
      okdbench report dkel-table1 -d cifar100 --epochs 2 --format markdown
      okdbench report dkel-table1 --explain "cifar100 resnet32 DKEL"
      okdbench report dkel-table1 --compare pcl-table1
      okdbench report dkel-figure5 --figure figure5.png
      okdbench report dkel-table1 --figures figures --figure-format pdf
    """
    from okdbench.report import Reports, build
    from okdbench.report.figures import require_drawable

    if check and reading.protocol is ProtocolName.all:
        raise UsageError("--check judges one number for each cell; take --protocol recipe, last or best")
    for option, value in (("--figure", drawn.figure), *instead.given()):
        if value is not None and not recipe:
            raise UsageError(f"{option} {value}: is for one recipe; name it")
    if drawn.figure:
        require_drawable(drawn.figure)
    choice = reading.choice()
    file = page.file(places.results, recipe)
    form = page.form(file)
    names = [recipe] if recipe else _with_results(places.results)
    reports = [build(choices.recorded_plan(name, places), places.results, choice) for name in names]
    changed = _changed(reports, names, places)
    if instead.given():
        other = build(choices.recorded_plan(instead.beside, places), places.results, choice) if instead.beside else None
        write_content(instead.content(reports[0], other), form, file, page.fragment)
    else:
        write_content(Reports(reports, page.style.value, changed), form, file, page.fragment)
    if page.open_page and file:
        _show(file)
    for each in reports if not instead.given() else ():
        _draw(each, places.results, drawn.figure)
        if drawn.figures:
            _draw_all(each, places.results, drawn.figures, drawn.figure_format)
    damaged = sum(_print_findings(each, places, to_show(changed[each.plan.recipe.name])) for each in reports)
    if (check and not _passes(reports)) or damaged:
        raise typer.Exit(NOT_REPRODUCED)


def _changed(reports: "list[AnyReport]", names: list[str], places: Places) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return, by recipe, which of its runs have changed settings, and the commands that show them."""
    return {
        each.plan.recipe.name: tuple(with_changed_settings(each.plan, places, "report", name))
        for name, each in zip(names, reports, strict=True)
    }


def _print_findings(report: "AnyReport", places: Places, changed: list[str]) -> bool:
    """Print what else is in the results folder, with the lines on ``changed`` runs; return whether any is damaged."""
    from okdbench.plan.jobs import plan_jobs

    planned = plan_jobs(report.plan, places.results)
    elsewhere, damaged = to_take_over(done_elsewhere(planned)), damaged_runs(planned)
    for line in (*elsewhere, *damaged, *changed):
        print_to_stderr(f"{report.plan.recipe.name}: {line}")
    return bool(damaged)


def _show(page: Path) -> None:
    """Show a page in the user's browser."""
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        print_to_stderr("no browser was found here; open that file in one")


def _with_results(results: Path) -> list[str]:
    """Return names of the recipes that have runs in the results folder; raise UsageError if none has."""
    from okdbench.recipe import available
    from okdbench.runs.folder import CONFIG

    known, found = available(), []
    for folder in sorted(path.parent for path in results.glob(f"*/*/{CONFIG}")):
        if folder.parent.name not in found:
            found.append(folder.parent.name)
    for name in found:
        if name not in known:
            see = command("report", "FILE.yaml", *results_arguments(results))
            print_to_stderr(f"{results / name}: belongs to a recipe of your own; see it with: {see}")
    if not any(name in known for name in found):
        first = command("run", "quickstart", *results_arguments(results))
        raise UsageError(f"{results}: no runs of a recipe that comes with okdbench; name one, or: {first}")
    return [name for name in found if name in known]


def _draw(report: "AnyReport", results: Path, file: Path | None) -> None:
    """Draw the recipe's figure, if it has one; the file's name goes to standard error, apart from the table.

    A folder that cannot be written matters only where the user has named the file.
    """
    from okdbench.report.figures import draw

    name = report.plan.recipe.name
    found = report.chart()
    if found is None:
        if file:
            raise UsageError(f"--figure {file}: {name} has no figure, or no finished run; see: {command('show', name)}")
        return
    path = file or results / name / "figure.svg"
    try:
        draw(found, path)
    except UsageError as error:
        if file:
            raise
        print_to_stderr(f"figure: not drawn: {error} with --figure FILE")
        return
    print_to_stderr(f"figure: {path}")


def _draw_all(report: "AnyReport", results: Path, folder: Path, format: FigureFormat) -> None:
    """Draw every figure that the records allow, and name their files."""
    from okdbench.report.charts import get
    from okdbench.report.figures import draw

    name = report.plan.recipe.name
    found = report.charts()
    for kind, chart in found.items():
        path = folder / f"{name}-{kind}.{format}"
        draw(chart, path)
        print_to_stderr(f"figure: {path}: {get(kind).what}")
    if not found:
        see = command("status", name, *results_arguments(results))
        print_to_stderr(f"figures: {name} has no finished run yet; see: {see}")


def _passes(reports: "list[AnyReport]") -> bool:
    """Return whether every printed number is reproduced, and list the others on standard error."""
    checks = [check for report in reports for check in report.checks()]
    failed = [line for reproduced, line in checks if not reproduced]
    if not checks:
        print_to_stderr("check: there is no reported number to compare with")
        return True
    print_to_stderr(f"check: {len(checks) - len(failed)} of {count(len(checks), 'reported number')} reproduced")
    for line in failed:
        print_to_stderr(f"  {line}")
    return not failed

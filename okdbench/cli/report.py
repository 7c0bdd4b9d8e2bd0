"""``okdbench report``: our numbers beside the paper's."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from okdbench.cli import complete, options, paths
from okdbench.cli.options import Choices, Places, command, grouped
from okdbench.cli.output import chosen_format, count, print_to_stderr, write_content
from okdbench.cli.plans import damaged_runs, done_elsewhere, to_take_over, with_changed_settings
from okdbench.errors import UsageError

if TYPE_CHECKING:
    from okdbench.kinds import AnyReport
    from okdbench.report.formats import Format
    from okdbench.report.model import Choice

NOT_REPRODUCED = 1
PAGE = "html"


class ProtocolName(StrEnum):
    """Which head and epoch make the number of a run."""

    recipe = "recipe"
    last = "last"
    best = "best"
    all = "all"


class FigureFormat(StrEnum):
    """How figures are stored."""

    svg = "svg"
    png = "png"
    pdf = "pdf"


class StyleName(StrEnum):
    """For whom the table is."""

    report = "report"
    paper = "paper"


RecipeOrAll = Annotated[
    str | None,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe's name or file.",
        show_default="all that have results",
        autocompletion=complete.recipes,
    ),
]
ProtocolOption = Annotated[
    ProtocolName,
    typer.Option(
        metavar="PROTOCOL",
        help="recipe: the recipe's; last, best: the deployed head at that epoch; all: every head at both.",
    ),
]
HeadOption = Annotated[
    str | None,
    typer.Option(
        "--head",
        metavar="HEAD",
        help="Read this head, such as student or 'mean(peer?)'; deployed: each method's own.",
        show_default="the protocol's",
    ),
]
EpochOption = Annotated[
    str | None,
    typer.Option("--epoch", metavar="last|best|last-K", help="Read this epoch.", show_default="the protocol's"),
]
CheckOption = Annotated[
    bool, typer.Option("--check", help="Exit status 1 unless every cell with a reported number is reproduced.")
]
FigureOption = Annotated[
    Path | None,
    typer.Option(
        "--figure",
        metavar="FILE",
        parser=paths.new_file,
        help="Where to draw the recipe's figure, if it has one: FILE.svg, .png or .pdf.",
        show_default="RESULTS/RECIPE/figure.svg",
    ),
]
FiguresOption = Annotated[
    Path | None,
    typer.Option(
        "--figures",
        metavar="DIR",
        parser=paths.folder,
        help="Draw all that the records allow: DIR/RECIPE-NAME.svg.",
        show_default=False,
    ),
]
StyleOption = Annotated[
    StyleName,
    typer.Option(
        "--style",
        help="report: ours beside the paper's; paper: ours alone, with a paragraph on methods and BibTeX.",
    ),
]
FragmentOption = Annotated[
    bool, typer.Option("--fragment", help="LaTeX for \\input instead of an article that compiles alone.")
]
OpenOption = Annotated[
    bool,
    typer.Option(
        "--open", help="Write a page to RESULTS/RECIPE/report.html, or to FILE.html, and show it in a browser."
    ),
]
FigureFormatOption = Annotated[FigureFormat, typer.Option("--figure-format", help="Format of the files of --figures.")]


@grouped
def report(
    choices: Choices,
    places: Places,
    recipe: RecipeOrAll = None,
    format: options.ReportFormatOption = None,
    protocol: ProtocolOption = ProtocolName.recipe,
    head: HeadOption = None,
    epoch: EpochOption = None,
    check: CheckOption = False,
    style: StyleOption = StyleName.report,
    fragment: FragmentOption = False,
    output: options.OutputOption = None,
    open_page: OpenOption = False,
    figure: FigureOption = None,
    figures: FiguresOption = None,
    figure_format: FigureFormatOption = FigureFormat.svg,
) -> None:
    """Print a recipe's table: our numbers, the paper's, and verdicts.

    A simulation's table says which claims of the paper hold. If the recipe has
    a figure, it is drawn as well; --figures draws all others too: learning
    curves, reported against measured, differences to the paper, accuracy
    against cost, average ranks, runs that diverged.

    Runs with changed settings appear when the options are the same as those of
    run; they are never compared with the paper.

    Examples:
      okdbench report quickstart
      okdbench report quickstart --open
      okdbench report dkel-table1 -o table1.tex
      okdbench report dkel-table1 --style paper --fragment -o table1.tex
      okdbench report dkel-table1 -m baseline -m dkel --protocol last --check
      okdbench report dkel-table1 -d cifar100 -n resnet32 \\
          --epochs 2 --subset 4096 --format markdown
      okdbench report dkel-figure5 --figure figure5.png
      okdbench report dkel-table1 --figures figures --figure-format pdf
    """
    from okdbench.report import Reports, build
    from okdbench.report.figures import require_drawable

    if check and protocol is ProtocolName.all:
        raise UsageError("--check judges one number for each cell; take --protocol recipe, last or best")
    if figure and not recipe:
        raise UsageError(f"--figure {figure}: is for one recipe; name it")
    if figure:
        require_drawable(figure)
    choice = _choice(protocol, head, epoch)
    if open_page:
        output = output or _page(places.results, recipe)
    form = _page_format(format, output) if open_page else chosen_format(format, output)
    _require_suitable(form, style, fragment)
    names = [recipe] if recipe else _with_results(places.results)
    reports = [build(choices.recorded_plan(name, places), places.results, choice) for name in names]
    write_content(Reports(reports, style.value), form, output, fragment)
    if open_page and output:
        _show(output)
    damaged = False
    for name, each in zip(names, reports, strict=True):
        _draw(each, places.results, figure)
        if figures:
            _draw_all(each, figures, figure_format)
        damaged = _print_findings(each, name, places) or damaged
    if (check and not _passes(reports)) or damaged:
        raise typer.Exit(NOT_REPRODUCED)


def _print_findings(report: "AnyReport", name: str, places: Places) -> bool:
    """Print what else is in the results folder, a line each; return whether runs are damaged."""
    from okdbench.plan.jobs import plan_jobs

    planned = plan_jobs(report.plan, places.results)
    elsewhere, damaged = to_take_over(done_elsewhere(planned)), damaged_runs(planned)
    for line in (*elsewhere, *damaged, *with_changed_settings(report.plan, places, "report", name)):
        print_to_stderr(f"{report.plan.recipe.name}: {line}")
    return bool(damaged)


def _page(results: Path, recipe: str | None) -> Path:
    """Return where the page of a recipe, or of all that have results, is written."""
    from okdbench.recipe import load

    return results / load(recipe).name / "report.html" if recipe else results / "report.html"


def _page_format(name: str | None, page: Path | None) -> "Format":
    """Return the format of pages; raise UsageError if the options ask for another one."""
    form = chosen_format(name, page)
    if form.name != PAGE:
        raise UsageError(f"--open shows a page; take --format {PAGE}, or a FILE.{PAGE}")
    return form


def _require_suitable(form: "Format", style: StyleName, fragment: bool) -> None:
    """Raise UsageError for options that mean nothing in a format."""
    if fragment and not form.fragments:
        raise UsageError(f"--fragment: is for --format latex; {form.name} has no preamble to leave out")
    if style is StyleName.paper and not form.pages:
        raise UsageError(f"--style paper: is a page, and {form.name} holds values; take latex, markdown, html or text")


def _show(page: Path) -> None:
    """Show a page in the user's browser."""
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        print_to_stderr("no browser was found here; open that file in one")


def _choice(protocol: ProtocolName, head: str | None, epoch: str | None) -> "Choice":
    """Return the protocol of the options; raise UsageError for those that do not go together or are not understood."""
    from okdbench.results.protocol import HeadAndEpoch

    if head is None and epoch is None:
        return protocol.value
    if protocol is not ProtocolName.recipe:
        raise UsageError(f"--protocol {protocol}: chooses head and epoch; leave it out, or --head and --epoch")
    return HeadAndEpoch.of(head, epoch)


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
            print_to_stderr(
                f"{results / name}: belongs to a recipe of your own; see it with: {command('report', 'FILE.yaml')}"
            )
    if not any(name in known for name in found):
        raise UsageError(
            f"{results}: no runs of a recipe that comes with okdbench; name one, or: {command('run', 'quickstart')}"
        )
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


def _draw_all(report: "AnyReport", folder: Path, format: FigureFormat) -> None:
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
        print_to_stderr(f"figures: {name} has no finished run yet; see: {command('status', name)}")


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

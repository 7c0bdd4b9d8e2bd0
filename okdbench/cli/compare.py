"""``okdbench compare``: two methods of a recipe against each other."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from okdbench.cli import options
from okdbench.cli.options import Choices, Places, command, grouped
from okdbench.cli.output import chosen_format, print_to_stderr, write_content
from okdbench.cli.report_options import EpochOption, HeadOption, head_and_epoch
from okdbench.errors import UsageError

if TYPE_CHECKING:
    from okdbench.results.cells import ProtocolChoice


class ReadAt(StrEnum):
    """Which head and epoch make the number of a run."""

    recipe = "recipe"
    last = "last"
    best = "best"


def _label(metavar: str) -> "typer.models.ArgumentInfo":
    argument: typer.models.ArgumentInfo = typer.Argument(
        metavar=metavar, help="A method of the recipe, as in its grid: dkel, dkel@released, dkel@READING."
    )
    return argument


@grouped
def compare(
    recipe: options.RecipeName,
    first: Annotated[str, _label("A")],
    second: Annotated[str, _label("B")],
    choices: Choices,
    places: Places,
    protocol: Annotated[
        ReadAt, typer.Option(help="recipe: the recipe's; last, best: the deployed head at that epoch.")
    ] = ReadAt.recipe,
    head: HeadOption = None,
    epoch: EpochOption = None,
    format: options.ReportFormatOption = None,
    output: options.OutputOption = None,
    figure: Annotated[
        Path | None, options.figure_option("Draw the differences: FILE.svg, .png or .pdf.", show_default=False)
    ] = None,
) -> None:
    """Compare two methods of a recipe, paired by seed.

    For every data set and network that both have: the mean difference, its 95%
    interval, a paired t-test corrected for all of them (Holm), an exact
    sign-flip test, and a sentence that says whether the difference is decided
    and how many seeds such a difference needs by itself.

    Examples:
      okdbench compare quickstart dkel dml
      okdbench compare quickstart dkel dml --head deployed --epoch last-2
      okdbench compare dkel-table1 dkel pcl -d cifar100 --figure dkel-pcl.svg
    """
    from okdbench.plan import Plan
    from okdbench.report.contest import ContestReport
    from okdbench.report.figures import draw, require_drawable
    from okdbench.results.contest import hold

    if choices.methods:
        raise UsageError("--method: the two methods are A and B; leave out --method")
    if first == second:
        raise UsageError(f"{first}: is compared with itself; name two methods")
    if figure:
        require_drawable(figure)
    choice: ProtocolChoice = head_and_epoch(protocol, head, epoch) or protocol.value
    form = chosen_format(format, output)
    both = replace(choices, methods=[first, second])
    plan = both.plan(recipe, places.data)
    if not isinstance(plan, Plan):
        raise UsageError(f"{recipe}: trains no methods; compare takes a recipe of trainings")
    contest = hold(plan, (first, second), places.results, choice)
    rerun = command("run", recipe, *replace(both, seeds=None).arguments(), *places.arguments())
    found = ContestReport(contest, rerun)
    write_content(found, form, output)
    if figure:
        draw(found.chart(), figure)
        print_to_stderr(f"figure: {figure}")

"""Options of ``okdbench report``: how numbers are read, what the page looks like, and what is drawn."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from okdbench.cli import complete, options, paths
from okdbench.cli.output import chosen_format
from okdbench.errors import UsageError

if TYPE_CHECKING:
    from okdbench.kinds import AnyReport
    from okdbench.report.formats import Content, Format
    from okdbench.report.model import Choice
    from okdbench.results.protocol import HeadAndEpoch

BROWSED = "html"
"""The format that a browser shows."""
FIGURES = "Figures"


class ProtocolName(StrEnum):
    """Which head and epoch make the number of a run."""

    recipe = "recipe"
    last = "last"
    best = "best"
    all = "all"


class StyleName(StrEnum):
    """For whom the table is."""

    report = "report"
    paper = "paper"


class FigureFormat(StrEnum):
    """How figures are stored."""

    svg = "svg"
    png = "png"
    pdf = "pdf"


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
    typer.Option(
        "--epoch", metavar="last|best|best-on-test|last-K", help="Read this epoch.", show_default="the protocol's"
    ),
]


def head_and_epoch(protocol: StrEnum, head: str | None, epoch: str | None) -> "HeadAndEpoch | None":
    """Return what replaces the recipe's protocol, None where it is named; raise UsageError for both, or a wrong one."""
    from okdbench.results.protocol import HeadAndEpoch

    if head is None and epoch is None:
        return None
    if protocol.value != ProtocolName.recipe.value:
        raise UsageError(f"--protocol {protocol}: chooses head and epoch; leave it out, or --head and --epoch")
    return HeadAndEpoch.of(head, epoch)


@dataclass(frozen=True)
class ReadingOptions:
    """Which head and epoch make the number of a run."""

    protocol: Annotated[
        ProtocolName,
        typer.Option(
            metavar="PROTOCOL",
            help="recipe: the recipe's; last, best: the deployed head at that epoch; all: every head at both.",
        ),
    ] = ProtocolName.recipe
    head: HeadOption = None
    epoch: EpochOption = None

    def choice(self) -> "Choice":
        """Return the protocol; raise UsageError for options that do not go together or are not understood."""
        return head_and_epoch(self.protocol, self.head, self.epoch) or self.protocol.value


@dataclass(frozen=True)
class PageOptions:
    """In which form the report is, and where it goes."""

    format: options.ReportFormatOption = None
    style: Annotated[
        StyleName,
        typer.Option(
            "--style",
            help="report: ours beside the paper's; paper: ours alone, with a paragraph on methods and BibTeX.",
        ),
    ] = StyleName.report
    fragment: Annotated[
        bool, typer.Option("--fragment", help="LaTeX for \\input instead of an article that compiles alone.")
    ] = False
    output: options.OutputOption = None
    open_page: Annotated[
        bool,
        typer.Option(
            "--open", help="Write a page to RESULTS/RECIPE/report.html, or to FILE.html, and show it in a browser."
        ),
    ] = False

    def file(self, results: Path, recipe: str | None) -> Path | None:
        """Return where the report of a recipe, or of all that have results, is written; None for standard output."""
        if self.output or not self.open_page:
            return self.output
        from okdbench.recipe import load

        return results / load(recipe).name / "report.html" if recipe else results / "report.html"

    def form(self, file: Path | None) -> "Format":
        """Return the format; raise UsageError if it is not one for the other options."""
        form = chosen_format(self.format, file)
        if self.open_page and form.name != BROWSED:
            raise UsageError(f"--open shows a page; take --format {BROWSED}, or a FILE.{BROWSED}")
        if self.fragment and not form.fragments:
            raise UsageError(f"--fragment: is for --format latex; {form.name} has no preamble to leave out")
        if self.style is StyleName.paper and not form.pages:
            raise UsageError(
                f"--style paper: is a page, and {form.name} holds values; take latex, markdown, html or text"
            )
        return form


@dataclass(frozen=True)
class FigureOptions:
    """What is drawn."""

    figure: Annotated[
        Path | None,
        options.figure_option(
            "Where to draw the recipe's figure, if it has one: FILE.svg, .png or .pdf.",
            show_default="RESULTS/RECIPE/figure.svg",
            rich_help_panel=FIGURES,
        ),
    ] = None
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures",
            metavar="DIR",
            parser=paths.folder,
            help="Draw all that the records allow: DIR/RECIPE-NAME.svg.",
            show_default=False,
            rich_help_panel=FIGURES,
        ),
    ] = None
    figure_format: Annotated[
        FigureFormat,
        typer.Option("--figure-format", help="Format of the files of --figures.", rich_help_panel=FIGURES),
    ] = FigureFormat.svg


@dataclass(frozen=True)
class InsteadOptions:
    """What is shown instead of a recipe's table."""

    explain: Annotated[
        str | None,
        typer.Option(
            "--explain",
            metavar="CELL",
            help="Trace the number of a cell, such as 'resnet32 DKEL': runs, values, formulas, tests, commands.",
            show_default=False,
        ),
    ] = None
    beside: Annotated[
        str | None,
        typer.Option(
            "--compare",
            metavar="RECIPE",
            help="Set another recipe's table beside it, where both have the same data set, network and method.",
            show_default=False,
            autocompletion=complete.recipes,
        ),
    ] = None

    def given(self) -> list[tuple[str, str]]:
        """Return the options that are given; raise UsageError for both."""
        found = [(o, v) for o, v in (("--explain", self.explain), ("--compare", self.beside)) if v is not None]
        if len(found) > 1:
            raise UsageError("--explain and --compare: show different things; give one of them")
        return found

    def content(self, report: "AnyReport", other: "AnyReport | None") -> "Content":
        """Return the cell explained, or the tables of both reports."""
        from okdbench.report.tables import TwoTables

        return TwoTables.of(report, other) if other else report.explanation(self.explain or "")

"""``okdbench leaderboard``: all finished runs of all recipes, accuracy beside cost."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from okdbench.cli import options
from okdbench.cli.options import SELECTION, command, results_arguments
from okdbench.cli.output import chosen_format, print_to_stderr, write_content
from okdbench.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from okdbench.results.leaderboard import Standing


DAMAGED = 1


class EpochName(StrEnum):
    """Which epoch makes the number of a run."""

    last = "last"
    best = "best"


class SortName(StrEnum):
    """By what rows are sorted."""

    accuracy = "accuracy"
    cost = "cost"
    hours = "hours"
    seeds = "seeds"
    method = "method"


def _names(name: str, short: str) -> "typer.models.OptionInfo":
    """Return an option that keeps rows by a name, repeatable."""
    text = f"Only this {name.replace('dataset', 'data set')}."
    option: typer.models.OptionInfo = typer.Option(
        f"--{name}", short, metavar="NAME", help=text, rich_help_panel=SELECTION, show_default=False
    )
    return option


def leaderboard(
    datasets: Annotated[list[str] | None, _names("dataset", "-d")] = None,
    networks: Annotated[list[str] | None, _names("network", "-n")] = None,
    methods: Annotated[list[str] | None, _names("method", "-m")] = None,
    min_seeds: Annotated[
        int, typer.Option("--min-seeds", metavar="N", min=1, help="Only rows with N seeds or more.")
    ] = 1,
    sort: Annotated[SortName, typer.Option("--sort", help="What comes first: the best, the cheapest, ...")] = (
        SortName.accuracy
    ),
    epoch: Annotated[EpochName, typer.Option("--epoch", help="Which epoch makes the number.")] = EpochName.last,
    results: options.ResultsOption = options.DEFAULT_RESULTS,
    format: options.ReportFormatOption = None,
    output: options.OutputOption = None,
) -> None:
    """Rank all finished runs of all recipes, with what they cost.

    One row for each method, network, data set and setting: mean and standard
    deviation over the seeds, the arithmetic of a training step relative to
    plain training, and the hours that a run took. Settings that differ from
    the recipe's are named. Exit status 1 if a run is damaged; it is left out
    and named.

    Examples:
      okdbench leaderboard
      okdbench leaderboard -d cifar100 -n resnet8 --min-seeds 3
      okdbench leaderboard --sort cost -o leaderboard.md
    """
    from okdbench.report.leaderboard import Leaderboard, SortKey
    from okdbench.results.leaderboard import standings

    form = chosen_format(format, output)
    every, damaged = standings(results, epoch.value)
    for line in damaged:
        print_to_stderr(f"damaged: {line}")
    if not every:
        raise UsageError(
            f"{results}: no finished run; train some: {command('run', 'quickstart', *results_arguments(results))}"
        )
    wanted = [
        ("--dataset", datasets, [{each.config.dataset} for each in every]),
        ("--network", networks, [{each.config.network} for each in every]),
        ("--method", methods, [{each.config.method, each.label} for each in every]),
    ]
    kept = [each for each in every if len(each.seeds) >= min_seeds]
    for option, names, found in wanted:
        kept = _kept(kept, every, option, names, found)
    if not kept:
        raise UsageError(f"{results}: no row is left of {len(every)}; leave out an option, or lower --min-seeds")
    write_content(Leaderboard(kept, epoch.value, SortKey(sort.value), damaged), form, output)
    if damaged:
        raise typer.Exit(DAMAGED)


def _kept(
    kept: "list[Standing]", every: "list[Standing]", option: str, names: list[str] | None, found: list[set[str]]
) -> "list[Standing]":
    """Return the rows that have one of the names; raise UsageError for a name that no row has."""
    known = sorted(set[str]().union(*found))
    for name in names or ():
        if name not in known:
            raise UsageError(f'{option} "{name}": no finished run has it; {did_you_mean(name, known)}')
    fitting = [each for each, its in zip(every, found, strict=True) if not names or its & set(names)]
    return [each for each in kept if each in fitting]

"""The program: its verbs, its version, and how it reports user mistakes."""

import gc
import sys
from pathlib import Path
from typing import Annotated

import typer

import okdbench
from okdbench.cli import data
from okdbench.cli.audit import audit
from okdbench.cli.bench import bench
from okdbench.cli.copy import copy
from okdbench.cli.doctor import doctor
from okdbench.cli.leaderboard import leaderboard
from okdbench.cli.list import list_
from okdbench.cli.report import report
from okdbench.cli.run import run
from okdbench.cli.show import show
from okdbench.cli.status import status
from okdbench.cli.validate import validate
from okdbench.errors import UsageError

WRONG_USAGE = 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("list")(list_)
app.command("show")(show)
app.command("copy")(copy)
app.command("validate")(validate)
app.command("run")(run)
app.command("status")(status)
app.command("report")(report)
app.command("leaderboard")(leaderboard)
app.command("audit")(audit)
app.command("bench")(bench)
app.add_typer(data.app, name="data")
app.command("doctor")(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"okdbench {okdbench.__version__}")
        raise typer.Exit


@app.callback()
def okdbench_(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.py",
            help="Also use the methods, networks and formats of a Python file; goes before the verb, repeatable.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Reproduce the tables of online knowledge distillation papers.

    A recipe is one published table: a grid of trainings and the numbers that
    the paper prints. run trains the grid; report sets your numbers beside the
    paper's.

    A first table, on a CPU, in minutes:
      okdbench run quickstart
      okdbench report quickstart

    Exit status:
      0    success
      1    a run failed, or a check found something (report --check,
           data verify, doctor)
      2    wrong usage or an invalid recipe
      130  run was interrupted; repeat the command to resume
    """
    if plugin:
        from okdbench import plugins

        for path in plugin:
            plugins.add(path)


def main() -> None:
    """Entry point: user mistakes become lines on standard error and exit status 2, never a traceback."""
    gc.set_threshold(100_000)  # importing torch creates so many objects that frequent garbage collection would be slow
    try:
        app()
    except UsageError as error:
        for line in str(error).splitlines():
            print(f"okdbench: error: {line}", file=sys.stderr)
        sys.exit(WRONG_USAGE)

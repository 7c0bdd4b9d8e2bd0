"""``okdbench results``: what concerns whole results folders."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from okdbench.cli import options
from okdbench.cli.options import DEFAULT_RESULTS, ResultsOption, TextOrJson
from okdbench.cli.output import chosen_format, print_to_stderr, say, say_json, say_wrapped, write_content
from okdbench.cli.paths import folder
from okdbench.errors import UsageError
from okdbench.printable import printable
from okdbench.words import count

if TYPE_CHECKING:
    from okdbench.runs.folder import RunFolder
    from okdbench.runs.verification import Verification

FOUND = 1

app = typer.Typer(no_args_is_help=True, help="Bring the records of several machines together, and check them.")


@app.callback()
def results_() -> None:
    """Bring the records of several machines together, and check them."""


@app.command("merge")
def merge_results(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", parser=folder, help="Results folders of other machines.")
    ],
    results: ResultsOption = DEFAULT_RESULTS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be copied, and copy nothing.")] = False,
) -> None:
    """Copy the finished runs of other results folders into this one.

    Every record is checked as "results verify" does before it is copied. A run
    that is here already, under any recipe, is never overwritten: it must have
    the same results, apart from its times. Unfinished and doubtful runs are
    left out and named, and so are weights that are not those of the record.
    Exit status 1 if any run is doubtful, or differs.

    Examples:
      okdbench results merge ../machine-b/results ../machine-c/results
      okdbench results merge ../machine-b/results --results all --dry-run
    """
    from okdbench.runs.merge import merge_records

    merged = merge_records(folders, results, dry_run)
    counts = [(merged.copied, "to copy" if dry_run else "copied"), (merged.present, "here already, the same")]
    counts += [(merged.unfinished, "not finished, left out")]
    lines = [f"{count(len(runs), 'run')} {what}" for runs, what in counts if runs]
    problems = [f"{other} and {run} are the same run with different results" for run, other in merged.conflicts]
    problems += merged.damaged
    say(f"{results}: {', '.join(lines) or 'nothing to copy'}")
    for line in (*(f"{run}: {run.state}" for run in merged.unfinished), *merged.remarks):
        say(f"  {printable(line)}", style="yellow")
    for problem in problems:
        say(f"  {printable(problem)}", style="bold red")
    if merged.conflicts:
        say_wrapped(
            "different results of one run: other devices and versions round otherwise (record.json names them); where "
            "these are the same, one machine is wrong. Delete one of the two folders"
        )
    if problems:
        raise typer.Exit(FOUND)


@app.command("verify")
def verify_results(
    place: Annotated[Path, typer.Argument(metavar="DIR", parser=folder, help="A results folder.")] = DEFAULT_RESULTS,
    format: options.FormatOption = TextOrJson.text,
) -> None:
    """Check records, for instance before they are published or merged.

    Of every run: that its files are whole and are those of its id and folder;
    that the record says on what it was computed; that the configuration and
    the heads are possible ones; that learning rates are those of the schedule,
    that every accuracy is a whole number of test images, and whatever else no
    training writes; that no run has the numbers of another seed's.
    Exit status 1 if anything is wrong.

    Examples:
      okdbench results verify
      okdbench results verify ../machine-b/results --format json
    """
    from okdbench.runs.verification import verify_records

    found = verify_records(place)
    if format is TextOrJson.json:
        remarks = [{"remark": remark, "runs": _paths(runs)} for remark, runs in found.remarks.items()]
        runs = {"sound": _paths(found.sound), "unfinished": _paths(found.unfinished)}
        say_json("okdbench.verification/1", {"results": place, **runs, "problems": found.problems, "remarks": remarks})
    else:
        _print_verification(place, found)
    if found.problems:
        raise typer.Exit(FOUND)


def _paths(runs: "list[RunFolder]") -> list[Path]:
    return [run.path for run in runs]


def _print_verification(place: Path, found: "Verification") -> None:
    counts = [(len(found.sound), "sound"), (len(found.unfinished), "not finished")]
    told = [f"{count(number, 'run')} {what}" for number, what in counts if number]
    say(f"{place}: {', '.join(told) or 'no run is sound'}")
    for line in found.problems:
        say(f"  {printable(line)}", style="bold red")
    for remark, runs in found.remarks.items():
        which = f"{count(len(runs), 'run')} ({runs[0].path.name}{', ...' if runs[1:] else ''})"
        say(f"  {printable(f'{which}: {remark}')}", style="yellow")


@app.command("index")
def index_results(
    results: ResultsOption = DEFAULT_RESULTS,
    format: options.ReportFormatOption = None,
    output: options.OutputOption = None,
) -> None:
    """List what was trained, where, in how many hours, and with which command.

    One row for each recipe, and for each change of its settings. Exit status 1
    if a run is damaged; it is left out and named.

    Examples:
      okdbench results index
      okdbench results index -o results/README.md
    """
    from okdbench.report.inventory import Inventory
    from okdbench.results.inventory import holdings

    found, damaged = holdings(results)
    for line in damaged:
        print_to_stderr(f"damaged: {line}")
    if not found:
        first = "run", "quickstart", *options.results_arguments(results)
        raise UsageError(f"{results}: no finished run; train some: {options.command(*first)}")
    write_content(Inventory(found, damaged), chosen_format(format, output), output)
    if damaged:
        raise typer.Exit(FOUND)

"""The program: its verbs, its version, and how it reports user mistakes."""

import errno
import gc
import os
import sys
import termios
import traceback
from pathlib import Path
from typing import Annotated

import typer

import okdbench
from okdbench.cli import data, new, options, output, paths, results
from okdbench.cli.audit import audit
from okdbench.cli.bench import bench
from okdbench.cli.compare import compare
from okdbench.cli.copy import copy
from okdbench.cli.doctor import doctor
from okdbench.cli.export import export
from okdbench.cli.leaderboard import leaderboard
from okdbench.cli.list import list_
from okdbench.cli.plan import plan
from okdbench.cli.program import Program, own_options
from okdbench.cli.progress import show_long_work
from okdbench.cli.report import report
from okdbench.cli.run import INTERRUPTED, run
from okdbench.cli.show import show
from okdbench.cli.status import status
from okdbench.cli.track import track
from okdbench.cli.validate import validate
from okdbench.cli.watch import watch
from okdbench.errors import UsageError
from okdbench.printable import printable

WRONG_USAGE = 2
PACKED = "OKDBENCH_PACKED"
LONGEST_WORD, LONGEST_LINE = 4096, 1200
"""Characters of a word of the command, and of a message."""
FIRST_STEPS = """\
okdbench reproduces the tables of online knowledge distillation papers.

  {okdbench} doctor             is everything in place?
  {okdbench} run quickstart     a first table, on a CPU, in minutes
  {okdbench} report quickstart  ... and how it compares
  {okdbench} list recipes       the tables that can be reproduced
  {okdbench} show dkel-table1   what one of them trains and compares

All verbs:           {okdbench} --help
Names by TAB:        {okdbench} --install-completion"""

app = typer.Typer(
    cls=Program,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("list")(list_)
app.command("show")(show)
app.command("copy")(copy)
app.add_typer(new.app, name="new")
app.command("validate")(validate)
app.command("plan")(plan)
app.command("run")(run)
app.command("status")(status)
app.command("watch")(watch)
app.command("report")(report)
app.command("leaderboard")(leaderboard)
app.command("compare")(compare)
app.command("audit")(audit)
app.command("bench")(bench)
app.command("export")(export)
app.command("track")(track)
app.add_typer(data.app, name="data")
app.add_typer(results.app, name="results")
app.command("doctor")(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"okdbench {okdbench.__version__}")
        raise typer.Exit


@app.callback()
def okdbench_(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.py",
            parser=paths.any_path,
            help="Also use what a Python file offers: a method, network, kind, format, engine and so on; repeatable.",
            show_default=False,
        ),
    ] = None,
    packed: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=paths.folder,
            envvar=PACKED,
            help="Folder of packed images, where the data folder cannot be written.",
            show_default="DATA/packed",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Results and errors only, no progress.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Every epoch of every run, and where an error arose.")
    ] = False,
) -> None:
    """Reproduce the tables of online knowledge distillation papers.

    A recipe is one published table: a grid of trainings and the numbers that
    the paper prints. run trains the grid; report sets your numbers beside the
    paper's.

    A first table, on a CPU, in minutes:
      okdbench run quickstart
      okdbench report quickstart

    These options may also follow the verb. Defaults for the options of all
    verbs are read from okdbench.toml, here or in your configuration folder,
    and from the environment: OKDBENCH_JOBS, or OKDBENCH_RUN_JOBS for one verb.

    Exit status:
      0    success
      1    a run failed or is damaged, or a check found something (report
           --check, data verify, doctor)
      2    wrong usage or an invalid recipe
      130  run was interrupted; repeat the command to resume
    """
    output.set_verbosity(quiet, verbose)
    if packed:
        os.environ[PACKED] = str(packed.absolute())  # which workers inherit
    show_long_work()
    if context.invoked_subcommand is None:
        print(FIRST_STEPS.format(okdbench=options.program()))
    if plugin:
        from okdbench import plugins

        for path in plugin:
            plugins.add(path)


def main() -> None:
    """Entry point: user mistakes become lines on standard error and exit status 2, never a traceback."""
    gc.set_threshold(100_000)  # frequent garbage collection would slow the import of torch
    output.tolerate_any_text()
    try:
        _require_readable(sys.argv[1:])
        app()
    except (UsageError, OSError) as error:
        if isinstance(error, OSError):
            error = _explained(error)
        if output.verbosity.verbose:
            traceback.print_exc()
        lines = str(error).splitlines()
        for line in lines:
            output.print_to_stderr(f"okdbench: error: {_shortened(line)}")
        if not any(f"{options.program()} " in line for line in lines[-1:]):
            words = options.command(*error.then) if error.then else f"{options.program()} {_help()}"
            output.print_to_stderr(f"okdbench: try: {words}")
        sys.exit(WRONG_USAGE)


def _explained(error: OSError) -> UsageError:
    """Return what the system refused in words for the user; end this process where the terminal was closed."""
    if error.errno == errno.EIO and _terminal_closed():
        # Nothing more can be said, and the interpreter must not try to.
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
        sys.exit(INTERRUPTED)
    where = error.filename or ("standard output" if error.errno != errno.ENOENT else "the current folder")
    if not error.filename:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (what is left in its buffer cannot be written)
    return UsageError(f"{_shortened(str(where))}: {error.strerror or error}; correct it, or choose another place")


def _terminal_closed() -> bool:
    """Return whether standard output or error is a terminal that is gone; disks and servers fail with EIO, too."""
    for stream in (1, 2):
        try:
            termios.tcgetattr(stream)
        except termios.error as error:
            if error.args[0] == errno.EIO:
                return True
    return False


def _require_readable(words: list[str]) -> None:
    """Raise UsageError for a word that no terminal shows as it is, or that is too long for a name or a value."""
    for number, word in enumerate(words, start=1):
        if printable(without := word.encode(errors="surrogateescape").decode(errors="ignore")) != without:
            raise UsageError(f"word {number} of the command, {_shortened(word)}: has control characters; remove them")
        if len(word) > LONGEST_WORD:
            raise UsageError(f"word {number} of the command, {word:.40}...: has {len(word):,} characters; shorten it")


def _shortened(line: str) -> str:
    """Return a line of a length that can be read."""
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"


def _help() -> str:
    """Return the words that show the help of the verb that was called."""
    _, words = own_options(sys.argv[1:])
    return " ".join([*words[: 2 if words[:1] == ["data"] else 1], "--help"])

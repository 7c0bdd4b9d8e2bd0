"""``okdbench data``: fetch, check and pack images."""

import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from okdbench.cli import complete, options, output
from okdbench.cli.options import TextOrJson, command, data_arguments
from okdbench.cli.output import say, say_json, say_synthetic, say_table
from okdbench.words import count

UNSOUND = 1
"""Exit status of verify where images are damaged or absent."""
SHOWN = 20
"""Damaged files that are named."""

app = typer.Typer(help="Fetch, check and pack the images.", no_args_is_help=True, rich_markup_mode="rich")

NamesArgument = Annotated[
    list[str],
    typer.Argument(metavar="NAME", help="Data sets; see: okdbench data list.", autocompletion=complete.datasets),
]
Some = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME", help="Data sets.", show_default="all that are there", autocompletion=complete.datasets
    ),
]


@app.command("list")
def list_datasets(
    data: options.DataOption = options.DEFAULT_DATA, format: options.FormatOption = TextOrJson.text
) -> None:
    """List the data sets and whether their images are there.

    States: packed (ready), found (run packs it, or reads its files directly if
    it is too large to pack), absent, corrupt.

    Examples:
      okdbench data list
      okdbench data list --data /mnt/images
      okdbench data list --format json
    """
    from okdbench.data import available, packing_state

    states = {name: packing_state(name, data) for name in available()}
    if format is TextOrJson.json:
        say_json("okdbench.data/1", {"datasets": [_facts(name, *found) for name, found in states.items()]})
        return
    rows = []
    for name, dataset in available().items():
        state, path = states[name]
        counts = (dataset.classes, dataset.train_size, dataset.test_size)
        sizes = [f"{count:,}" if dataset.exact else f"<= {count:,}" for count in counts]
        rows.append([name, state, *sizes, str(dataset.image_size), "" if state == "absent" else str(path)])
    say_table(
        ["name", "state", "classes", "train", "test", "pixels", "where"],
        rows,
        right=["classes", "train", "test", "pixels"],
    )
    say_synthetic()
    if any(row[1] == "absent" for row in rows):
        say(f"absent ones: {command('data', 'fetch', 'NAME', *data_arguments(data))}")


def _facts(name: str, state: str, path: Path) -> dict[str, Any]:
    """Return a data set and whether its images are there; ``exact`` says whether the counts are more than bounds."""
    from okdbench.data import get

    fields = ("classes", "train_size", "test_size", "image_size", "exact")
    return {
        "name": name,
        "state": state,
        **{field: getattr(get(name), field) for field in fields},
        "path": None if state == "absent" else path,
    }


@app.command("fetch")
def fetch(names: NamesArgument, data: options.DataOption = options.DEFAULT_DATA) -> None:
    """Download data sets into the data folder and pack them.

    Files that exist are not fetched again; checksums are verified.

    Examples:
      okdbench data fetch cifar100
      okdbench data fetch cifar10 cifar100 --data /mnt/images
    """
    from okdbench.data import check, get, pack, present

    for dataset in [get(name) for name in names]:
        if dataset.fetch is None and not present(dataset.name, data):
            raise dataset.missing(data)
        if dataset.fetch is not None:
            say(f"{dataset.name}: fetching into {data}")
            dataset.fetch(data)
        if dataset.streamed:
            check(dataset.name, data)
            say(f"{dataset.name}: complete in {dataset.found(data)}; it is read from there")
        else:
            say(f"{dataset.name}: packed in {pack(dataset.name, data)}")


@app.command("verify")
def verify(
    names: Some = None,
    data: options.DataOption = options.DEFAULT_DATA,
    format: options.FormatOption = TextOrJson.text,
) -> None:
    """Compare packed images with their checksums.

    Of a data set that is too large to pack, every file is read. Exit status 1
    if any is damaged, or absent though it was named.

    Examples:
      okdbench data verify
      okdbench data verify cifar100
      okdbench data verify --format json
    """
    from okdbench.data import available

    found: list[Verified] = []
    for name in names or available():
        each = _verified(name, data, read_all=bool(names))
        if names or each.state in ("packed", "corrupt"):
            found.append(each)
            if format is TextOrJson.text:
                _print_verified(each, data)
    if format is TextOrJson.json:
        say_json("okdbench.images/1", {"datasets": [each._asdict() for each in found]})
    elif not found:
        say(f"nothing is packed in {data}")
    if any(each.damaged or each.state == "absent" for each in found):
        raise typer.Exit(UNSOUND)


class Verified(NamedTuple):
    """A data set's images: their state, where they are, and what is damaged; ``read`` if every file was read."""

    name: str
    state: str
    path: Path | None
    read: bool
    damaged: list[str]


def _verified(name: str, data: Path, read_all: bool) -> Verified:
    from okdbench.data import get, packing_state

    state, path = packing_state(get(name).name, data)
    read = read_all and state == "found" and get(name).streamed
    damaged = _bad_files(name, data) if read else [f"damaged or cut short: {path}"] if state == "corrupt" else []
    return Verified(name, state, None if state == "absent" else path, read, damaged)


def _print_verified(found: Verified, data: Path) -> None:
    name, bad = found.name, found.damaged
    if found.state == "corrupt":
        remedy = command("data", "pack", name, "--force", *data_arguments(data))
        say(f"{name}: {bad[0]}; pack it again: {remedy}", style="bold red")
    elif found.state == "packed":
        say(f"{name}: ok, {found.path}")
    elif found.read:
        for line in bad[:SHOWN]:
            say(f"{name}: {line}; get it again", style="bold red")
        more = f" ({len(bad) - SHOWN:,} more)" if len(bad) > SHOWN else ""
        text = f"{count(len(bad), 'damaged file')}{more}" if bad else f"all files in {found.path} can be read"
        say(f"{name}: {text}")
    else:
        say(f"{name}: not packed ({found.state}); {_next_step(name, found.state, data)}")


def _bad_files(name: str, data: Path) -> list[str]:
    """Return what is wrong with the files of a data set that is not packed; every one is read, which takes a while."""
    from itertools import chain

    from rich.progress import track

    from okdbench.data import listed, problems
    from okdbench.report.console import make_console

    files = listed(name, data)
    found = chain(problems(files.train), problems(files.test))
    total = len(files.train.labels) + len(files.test.labels)
    shown = make_console(sys.stderr)
    hidden = output.verbosity.quiet or not sys.stderr.isatty()
    return [each for each in track(found, name, total, console=shown, transient=True, disable=hidden) if each]


def _next_step(name: str, state: str, data: Path) -> str:
    """Return what to do with images that are not packed."""
    from okdbench.data import get

    dataset = get(name)
    if state != "absent":
        return f"pack it: {command('data', 'pack', name, *data_arguments(data))}"
    if dataset.fetch:
        return f"fetch it: {command('data', 'fetch', name, *data_arguments(data))}"
    return f"put it into {data} as {dataset.layout}"


@app.command("pack")
def pack_dataset(
    names: NamesArgument,
    force: Annotated[bool, typer.Option("--force", help="Pack again what is already packed.")] = False,
    data: options.DataOption = options.DEFAULT_DATA,
) -> None:
    """Pack original files into the one file that training reads.

    run does this automatically when needed.

    Examples:
      okdbench data pack cifar100
      okdbench data pack cifar100 --force
    """
    from okdbench.data import pack as pack_images

    for name in names:
        say(f"{name}: packed in {pack_images(name, data, force=force)}")

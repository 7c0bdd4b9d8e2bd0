"""``okdbench export``: the network of a finished run, for use without okdbench."""

from pathlib import Path
from typing import Annotated

import typer

from okdbench import exporting
from okdbench.cli import paths
from okdbench.cli.options import Places, grouped
from okdbench.cli.output import say

FAILED = 1


@grouped
def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, its id, or the beginning of it.")],
    places: Places,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"{', '.join(exporting.available())}, or a plugin's.",
            show_default=f"by DEST's ending, else {exporting.DEFAULT_FORM}",
        ),
    ] = None,
    dest: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DEST",
            parser=paths.any_path,
            help="A folder, or a file.",
            show_default="exported/RUN/",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Test the exported network on the test images.")
    ] = True,
) -> None:
    """Write the network that a finished run deploys, for use without okdbench.

    Teachers, peers and whatever else only training needs are left out. The
    network is loaded back, and must be as accurate on the test images as the
    run's record says; otherwise nothing is kept and the exit status is 1.

    Examples:
      okdbench export f6ac50
      okdbench export f6ac50 -o student.onnx
      okdbench export f6ac50 --format torchscript -o deployed/ --no-check
    """
    from okdbench.exporting.base import export as write
    from okdbench.runs.find import find_run

    folder = find_run(run, places.results)
    chosen = (
        exporting.get(form) if form else (dest and exporting.of_suffix(dest)) or exporting.get(exporting.DEFAULT_FORM)
    )
    target = dest or Path("exported", folder.path.name)
    file = target if exporting.of_suffix(target) else target / f"model{chosen.ending}"
    found = write(folder, chosen, file, places.data if check else None)
    accuracy = f"recorded {found.recorded:.2f} %"
    if found.measured is not None:
        accuracy = f"top-1 {found.measured:.2f} % on {found.images:,} test images, {accuracy}"
    if not found.agrees:
        say(f"not exported: {accuracy}; the weights do not belong to the record: run it again", style="bold red")
        raise typer.Exit(FAILED)
    say(f"{found.network.title}: {accuracy}" + ("" if check else ", not tested"))
    for each in (*found.written.files, file.with_name("config.json")):
        say(f"  {each}")
    say(f"load it, in {file.parent}:")
    for line in found.written.loading.splitlines():
        say(f"  {line}".rstrip())

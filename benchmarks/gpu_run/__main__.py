"""The measuring run on a GPU machine that is had for 15 minutes, without a network and without real images.

    python -m benchmarks.gpu_run prepare                       # on any machine with a network
    python3 -m benchmarks.gpu_run gate --output OUT            # on the GPU machine: is it right? at most 200 s
    python3 -m benchmarks.gpu_run headline --output OUT        # on the GPU machine: how fast is it? at most 450 s
    python -m benchmarks.gpu_run table --output FOLDER         # anywhere: the table of the findings in FOLDER, and its
                                                               # measurements as files of okdbench bench

`prepare` fills the folder .gpu_run, which must be carried to the GPU machine with the checkout: packages that it lacks,
losses that a CPU computed in float64, and the list of what will be run. Each item runs in a process of its own for a
limited time; its finding is written to OUT/gate.json or OUT/headline.json at once, and OUT/summary.txt is the table of
what was found so far. OUT/log.txt has the output of all processes. Images are made (synthetic-full-cifar100): times of
whole epochs count, accuracies mean nothing. The exit status is 1 where an item failed or came out wrong.

The machine needs the packages of pyproject.toml but for pydantic, msgspec and what they need; they are carried.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.gpu_run.children import ROOT, Children, perform
from benchmarks.gpu_run.items import LIMITS, Place, items
from benchmarks.gpu_run.packages import unpacked
from benchmarks.gpu_run.summary import MARK, save_measurements, write_table, wrong

CLOSING = 5.0
"""Seconds of a command's limit for starting and for the table."""


def main() -> int:
    """The exit status."""
    begun = time.monotonic()
    options = _options()
    if options.verb == "prepare":
        from benchmarks.gpu_run.prepare import prepare  # late: needs pydantic

        prepare(options.prepared, options.rehearse)
        return 0
    options.output.mkdir(parents=True, exist_ok=True)
    if options.verb == "table":
        save_measurements(options.output)
        print(write_table(options.output), end="")
        return 0
    if options.rehearse:
        (options.output / MARK).touch()
    with tempfile.TemporaryDirectory() as scratch:
        children = Children(options.output / "log.txt", unpacked(options.prepared / "wheels", Path(scratch, "site")))
        place = Place(options.device, options.prepared, Path(scratch), options.rehearse)
        ends = begun + (options.seconds or LIMITS[options.verb]) - CLOSING
        found = perform(items(options.verb, place), options.output / f"{options.verb}.json", ends, children)
    print("\n" + write_table(options.output), end="", flush=True)
    return 1 if wrong(found) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("prepare", *LIMITS, "table"):
        words = verbs.add_parser(verb)
        if verb != "table":
            words.add_argument("--prepared", type=Path, default=ROOT / ".gpu_run", help="folder of what is carried")
            words.add_argument("--rehearse", action="store_true", help="tiny sizes, to see that everything works")
        if verb != "prepare":
            words.add_argument("--output", type=Path, required=True, help="folder of what is found")
        if verb in LIMITS:
            words.add_argument("--device", default="cuda:0")
            words.add_argument("--seconds", type=float, help=f"for everything; default {LIMITS[verb]:.0f}")
    options = parser.parse_args()
    if options.verb in LIMITS and not (options.prepared / "curves.json").is_file():
        parser.error(f'--prepared: {options.prepared} is not prepared; run "python -m benchmarks.gpu_run prepare"')
    return options


if __name__ == "__main__":
    raise SystemExit(main())

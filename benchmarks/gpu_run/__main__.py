"""Everything that needs a GPU, in one command that stops by itself: checks, speed, and training in the time left.

    python -m benchmarks.gpu_run --device cuda:0 --seconds 480 --data data --output out
    python -m benchmarks.gpu_run --seconds 480 --data data --output out --parts train
    python -m benchmarks.gpu_run --rehearse --device cpu --seconds 300 --output out

Its parts, in this order:
  check     every method's losses on the GPU against the CPU's, and a recorded step against separate operations
  together  several runs in turns in one process: the same weights as alone, and how many images per second
  bench     okdbench bench over networks, backends and precisions, and what that makes of DKEL's Table 1
  probes    small measurements that the model of performance rests on
  train     cells of a recipe; a later call with the same --results resumes them

The parts share the time; the next ones get what a part does not need. Every finding is written to OUTPUT/PART.json at
once, so a kill loses one item of work, and a later call with the same OUTPUT does what is missing (delete a part's file
to repeat the part). Everything that uses the GPU runs in a process of its own. OUTPUT also holds summary.txt (the table
printed last: predictions and targets beside the measurements), log.txt, and results.tar.gz (records of trained runs and
measurements of okdbench bench, without weights).

The exit status is 1 where a check came out wrong. Only Python's standard library and okdbench are used, no network.
"""

import argparse
import signal
import tarfile
import time
from pathlib import Path
from types import FrameType

from benchmarks.gpu_run.bench import bench
from benchmarks.gpu_run.children import Children
from benchmarks.gpu_run.parts import forget_undone, read
from benchmarks.gpu_run.session import REHEARSAL, Session
from benchmarks.gpu_run.summary import table, wrong
from benchmarks.gpu_run.together import together
from benchmarks.gpu_run.train import train

PARTS = {"check": 3, "together": 3, "bench": 5, "probes": 1, "train": 6}
"""The parts in their order, with their shares of the time."""
TRAINING = ("together", "train")
"""Parts that cannot use synthetic images."""
CLOSING = 5.0
"""Seconds for the summary."""
KEPT = ("config.json", "metrics.jsonl", "record.json")
"""Files of a run's folder that are packed."""
CELLS = "dkel-table1 -d cifar100 -n resnet32"
REHEARSED = "quickstart --smoke -m baseline"


def main() -> int:
    """The exit status."""
    options = _options()
    ends = time.monotonic() + options.seconds - CLOSING
    options.output.mkdir(parents=True, exist_ok=True)
    results = options.results or options.output / "results"
    children = Children(options.output / "log.txt")
    session = Session(options.device, options.data, options.output, results, options.rehearse, children)
    signal.signal(signal.SIGTERM, _interrupt)
    if session.rehearsal:
        print(REHEARSAL, flush=True)
    try:
        chosen = [part for part in PARTS if part in options.parts.split(",")]
        for number, part in enumerate(chosen):
            shares = sum(PARTS[each] for each in chosen[number:])
            seconds = (ends - time.monotonic()) * PARTS[part] / shares
            print(f"\n== {part}: {max(0.0, seconds):.0f} s", flush=True)
            forget_undone(session.file(part))
            _run(part, session, seconds, options)
    except KeyboardInterrupt:
        print("interrupted; repeat the command to resume", flush=True)
    return _close(session)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--seconds", type=float, default=570, help="for everything; default 570")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        help="folder of images; where CIFAR-100 is absent, check and bench use synthetic images",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for what is found")
    parser.add_argument("--results", type=Path, help="folder of the records; default OUTPUT/results")
    parser.add_argument("--parts", default=",".join(PARTS), help="default: all, " + ",".join(PARTS))
    parser.add_argument("--method", action="append", default=[], help="check this method only (repeatable)")
    parser.add_argument("--cells", help=f'what to train, as words of okdbench run; default "{CELLS}"')
    parser.add_argument("--jobs-per-device", type=int, default=3, help="runs that train in turns; default 3")
    parser.add_argument("--rehearse", action="store_true", help="the smallest sizes, to see that everything works")
    options = parser.parse_args()
    if unknown := set(options.parts.split(",")) - set(PARTS):
        parser.error(f"--parts: there is no {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    asked = options.parts.split(",")
    training = [part for part in TRAINING if part in asked and not (part == "train" and options.cells)]
    if training and not options.rehearse and not _has_cifar(options.data):
        others = ",".join(part for part in PARTS if part not in training)
        parser.error(
            f"--data: no CIFAR-100 in {options.data}, which {' and '.join(training)} need; or --parts {others}"
        )
    return options


def _has_cifar(root: Path) -> bool:
    from okdbench import data  # late: it takes seconds

    return data.present("cifar100", root)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(part: str, session: Session, seconds: float, options: argparse.Namespace) -> None:
    """Do one part, which writes its findings to its file."""
    there = ["--device", session.device]
    if part == "check":
        words = [*there, "--data", str(session.data), *(f"--method={name}" for name in options.method)]
        words += ["--steps", "2", "--batch-size", "8"] if session.rehearsal else []
        session.children.part(["-m", "benchmarks.gpu_run.check", *words], session.file(part), seconds)
    elif part == "together":
        together(session, seconds)
    elif part == "bench":
        bench(session, seconds)
    elif part == "probes":
        session.children.part(["-m", "benchmarks.gpu_run.probes", *there], session.file(part), seconds)
    else:
        train(session, seconds, options.cells or (REHEARSED if session.rehearsal else CELLS), options.jobs_per_device)


def _close(session: Session) -> int:
    """Pack what is small, print the table; the exit status."""
    if session.results.exists():
        with tarfile.open(session.output / "results.tar.gz", "w:gz") as archive:
            for path in sorted(session.results.rglob("*")):
                if path.name in KEPT or (path.suffix == ".json" and "bench" in path.parts):
                    archive.add(path, path.relative_to(session.results))
    findings = {part: read(session.file(part)) for part in PARTS}
    bad = wrong(findings)
    lines = [*([REHEARSAL] if session.rehearsal else []), *table(findings)]
    lines += [f"WRONG: {', '.join(bad)}"] if bad else []
    text = "\n".join(lines) + "\n"
    (session.output / "summary.txt").write_text(text)
    print(f"\n{text}", end="", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())

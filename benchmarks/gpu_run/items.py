"""What the two commands run, most important first."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LIMITS = {"gate": 200.0, "headline": 450.0}
"""Seconds of each command, its start included."""
METHODS = ("baseline", "dkel", "pcl", "kdcl", "okddip")
"""Those that the gate checks: one network; views, branches and a teacher; two losses of peers; attention."""
REHEARSED = ("dkel",)
IMAGES = "synthetic-full-cifar100"
GRAPH = ("--backend", "graph")
COMPILED = ("--backend", "compiled-graph", "--fast")
TF32 = (*GRAPH, "--precision", "float32", "--fast")
EPOCH = ("--epochs", "1", "--blocks", "3", "--steps", "30")


@dataclass(frozen=True)
class Place:
    """Device, the prepared folder, a folder for images and records, and whether it is a rehearsal (tiny sizes)."""

    device: str
    prepared: Path
    scratch: Path
    rehearsal: bool = False


@dataclass(frozen=True)
class Item:
    """Words of a Python command that writes JSON to ``--output``, or ``prints`` what it found.

    It takes about ``seconds`` (an estimate: nothing was measured yet) and is stopped at ``limit``.
    """

    name: str
    words: tuple[str, ...]
    seconds: float
    limit: float
    prints: bool = False


def items(command: str, place: Place) -> list[Item]:
    """Those of ``gate`` or of ``headline``; a rehearsal begins each of them, however little time is left."""
    chosen = list(_gate(place) if command == "gate" else _headline(place))
    if place.rehearsal:
        return [Item(each.name, each.words, 0.0, 100.0, each.prints) for each in chosen]
    return chosen


def listed() -> str:
    """Every item of both commands with its seconds, as text."""
    lines = []
    for command, limit in LIMITS.items():
        chosen = items(command, Place("cuda:0", Path(), Path()))
        total = sum(item.seconds for item in chosen)
        lines.append(f"{command}: about {total:.0f} s (estimates); stopped at {limit:.0f} s, without what is last")
        lines += [f"  {item.seconds:4.0f} s (at most {item.limit:3.0f})  {item.name}" for item in chosen]
    return "\n".join(lines) + "\n"


def _gate(place: Place) -> Iterator[Item]:
    folders = ("--data", str(place.scratch / "data"), "--results", str(place.scratch / "results"))
    yield _probe(place, "import", 15, 40, "environment")
    yield Item("doctor", ("-m", "okdbench", "doctor", *folders), 10, 30, prints=True)
    for method in REHEARSED if place.rehearsal else METHODS:
        words = ("-m", "benchmarks.gpu_run.check", method, "--device", place.device)
        words += ("--data", str(place.scratch / "data"), "--reference", str(place.prepared / "curves.json"))
        yield Item(f"check {method}", words, 18, 40)
    yield _bench(place, "dkel, short", 30, 45, "dkel", *GRAPH, *_short("--against", "fair-eager"), short=True)
    yield _probe(place, "turns, weights", 25, 40, "same-weights")


def _headline(place: Place) -> Iterator[Item]:
    fair = _short("--against", "fair-eager", steps=100)
    yield _bench(place, "dkel", 60, 110, "dkel", *GRAPH, "--epochs", "0", "--blocks", "3", "--steps", "60")
    yield _bench(place, "dkel, epoch", 75, 130, "dkel", *GRAPH, *EPOCH[:2], "--blocks", "1", "--steps", "10")
    yield _probe(place, "profile", 20, 45, "replays")
    if not place.rehearsal:  # which computes all of these in the same way
        yield _bench(place, "dkel, compiled-graph fast", 90, 170, "dkel", *COMPILED, *fair)
        yield _bench(place, "dkel, graph float32 TF32 fast", 25, 60, "dkel", *TF32, *fair)
    yield _bench(place, "baseline", 45, 90, "baseline", *GRAPH, *EPOCH)
    yield _probe(place, "turns", 25, 60, "turns")
    if not place.rehearsal:
        yield _bench(place, "baseline, compiled-graph fast", 45, 90, "baseline", *COMPILED, *fair)
    yield _probe(place, "peaks and an eager step", 15, 40, "peaks", "eager")
    if not place.rehearsal:
        yield _bench(place, "dkel, graph fast", 25, 60, "dkel", *GRAPH, "--fast", *fair)
        yield _bench(place, "baseline, graph float32", 20, 45, "baseline", *GRAPH, "--precision", "float32", *fair)
    yield _probe(place, "probes", 30, 90, "optimiser", "folding", "convolutions")


def _short(*words: str, steps: int = 50) -> tuple[str, ...]:
    """Steps of ours beside as few others as possible."""
    return (*words, "--epochs", "0", "--blocks", "3", "--steps", str(steps))


def _probe(place: Place, name: str, seconds: float, limit: float, *probes: str) -> Item:
    words = (
        "-m",
        "benchmarks.gpu_run.probes",
        *probes,
        "--device",
        place.device,
        "--data",
        str(place.scratch / "data"),
    )
    return Item(name, (*words, *(("--rehearse",) if place.rehearsal else ())), seconds, limit)


def _bench(
    place: Place, name: str, seconds: float, limit: float, method: str, *words: str, short: bool = False
) -> Item:
    """A call of `okdbench bench`; in a rehearsal the same with what takes seconds on a CPU."""
    there = ("--device", place.device, "--data", str(place.scratch / "data"))
    there += ("--results", str(place.scratch / "results"), "--format", "json")
    if place.rehearsal:
        epochs = words[words.index("--epochs") + 1]
        against = ("--against", "fair-eager") if "--against" in words else ()
        words = ("-d", "digits", "-n", "resnet8", "--batch-size", "4", "--subset", "16", *against)
        words += ("--blocks", "1", "--steps", "1", "--epochs", epochs, "--workers", "0")
    else:
        words = ("-d", "cifar100" if short else IMAGES, "-n", "resnet32", "--workers", "8", *words)
    return Item(name, ("-m", "okdbench", "bench", "-m", method, *words, *there), seconds, limit)

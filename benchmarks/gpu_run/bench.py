"""The part "bench": `okdbench bench` over what matters most first, each case in a process of its own."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu_run.parts import Part
from benchmarks.gpu_run.session import Session

NETWORKS = ("resnet110_bottleneck", "wrn20_8_tv", "vgg16_mlp", "densenet40_12_bc")
"""Of DKEL's Table 1, beside ResNet-32."""
VARIANTS = {
    "compiled-graph fast": ("--backend", "compiled-graph", "--fast"),
    "graph fast": ("--backend", "graph", "--fast"),
    "graph float32": ("--backend", "graph", "--precision", "float32"),
    "eager": ("--backend", "eager"),
    "compiled-graph": ("--backend", "compiled-graph"),
    "compiled-graph float32 fast": ("--backend", "compiled-graph", "--precision", "float32", "--fast"),
}
"""Ways to compute other than the usual one."""
MEASURED = ("baseline", "dkel")
TINY = ["-d", "digits", "-n", "resnet8", "--batch-size", "16", "--subset", "64", "--backend", "eager"]
SHORT = ["--blocks", "1", "--steps", "1", "--workers", "0"]
"""With `TINY`: a rehearsal."""
TELLING = 30.0
"""Seconds kept for the estimate at the end, which takes three times as long at most."""


@dataclass(frozen=True)
class Case:
    """One call of `okdbench bench`; ``needs`` is about how many seconds it takes."""

    name: str
    words: Sequence[str]
    needs: float


def cases() -> Iterator[Case]:
    """The predictions and targets first, then the other networks of the table, then other ways to compute."""
    whole, part = ["--steps", "100", "--epochs", "1"], ["--against", "fair-eager", "--blocks", "3", "--epochs", "0"]
    for method, needs in (("dkel", 120), ("baseline", 80)):
        yield Case(f"resnet32 {method}", ["-n", "resnet32", "-m", method, *whole], needs)
    for label in ("compiled-graph fast", "graph float32", "eager", "graph fast"):
        yield _variant(label, "baseline", part)
    for network in NETWORKS:
        for method in reversed(MEASURED):
            yield Case(f"{network} {method}", ["-n", network, "-m", method, *part, "--steps", "50"], 40)
    for network in ("resnet32", *NETWORKS):
        words = ["-n", network, "-m", "dkel", *part, "--steps", "50", "--jobs-per-device", "3"]
        yield Case(f"{network} dkel, 3 at a time", words, 60)
    for label in VARIANTS:
        yield _variant(label, "dkel", part)
    for label in ("compiled-graph", "compiled-graph float32 fast"):
        yield _variant(label, "baseline", part)
    for method in MEASURED:
        words = ["-d", "tiny-imagenet", "-n", "tiny_resnet18", "-m", method, *part, "--steps", "50"]
        yield Case(f"tiny_resnet18 {method}", words, 40)


def _variant(label: str, method: str, words: Sequence[str]) -> Case:
    needs = 90 if label.startswith("compiled") else 30
    chosen = ["-n", "resnet32", "-m", method, *words, "--steps", "100", *VARIANTS[label]]
    return Case(f"resnet32 {method}, {label}", chosen, needs)


def rehearsed() -> Iterator[Case]:
    """The same line with what takes seconds on a CPU."""
    for method in reversed(MEASURED):
        yield Case(f"resnet32 {method}", [*TINY, *SHORT, "-m", method, "--epochs", "1"], 0)
    yield Case("resnet32 baseline, eager", [*TINY, *SHORT, "-m", "baseline", "--against", "fair-eager"], 0)


def bench(session: Session, seconds: float) -> None:
    """Measurements as `okdbench bench` saves them, and what they make of the table."""
    part = Part(session.file("bench"), seconds)
    for case in rehearsed() if session.rehearsal else cases():
        part.item(case.name, partial(_measured, session, case, part), needs=case.needs + TELLING)
    part.findings.pop("dkel-table1", None)  # with every measurement it is another estimate
    part.item("dkel-table1", partial(_table, session))


def _measured(session: Session, case: Case, part: Part) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "measured.json"
        words = ["bench", *case.words, *session.there, "--format", "json", "--output", str(path)]
        session.children.okdbench(words, part.left - TELLING).text()
        [measured] = json.loads(path.read_text())["measurements"]
        return measured


def _table(session: Session) -> dict[str, float]:
    """Hours that the runs of DKEL's Table 1 take, by device, from the speed measured so far."""
    words = ["show", "dkel-table1", "--cost", "--format", "json", "--results", str(session.results)]
    costs = json.loads(session.children.okdbench(words, 3 * TELLING).text())["cost"]
    hours: dict[str, float] = {}
    for cost in costs:
        for device, spent in cost["device_hours"].items():
            hours[device] = hours.get(device, 0.0) + spent["hours"]
    return hours

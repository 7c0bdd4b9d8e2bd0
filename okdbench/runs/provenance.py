"""What a record says of where and how its run was computed: what lacks, what cannot be, what a reader should know."""

import re
from collections.abc import Iterator

from okdbench.runs.execution import Algorithms, Backend, Precision
from okdbench.runs.folder import RECORD
from okdbench.runs.records import DoneRecord, LearnedRecord, State

NEEDED = ("okdbench", "torch", "python", "device_name")
"""Without these nobody can compute the run again."""
OLDEST_TORCH = (2, 11)
"""The first version of torch with which okdbench can be installed."""
CHOICES = {"backend": Backend, "precision": Precision, "algorithms": Algorithms}
"""How a run that learns is computed."""
TELLING = ("device_name", "torch", "okdbench", "git_commit", "threads", "processes", "images_sha256", *CHOICES)
"""What can change the numbers of a run that is continued with another one."""


def problems(record: DoneRecord) -> Iterator[str]:
    """What a record lacks, or what okdbench cannot have computed a run on or with, in one line each."""
    environment = dict(record.environment)
    if lacking := [name for name in NEEDED if not environment.get(name)]:
        yield f"{RECORD} does not say on what it was computed: no {', '.join(lacking)}"
        return
    version = re.match(r"(\d+)\.(\d+)", str(environment["torch"]))
    if not version or tuple(map(int, version.groups())) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        yield f"{RECORD} has torch {environment['torch']}, where okdbench needs {oldest} or newer"
    for name, choices in CHOICES.items():
        known = [choice for choice in choices if choice != "auto"]
        if name in environment and environment[name] not in known:
            yield f"{RECORD} has {name} {environment[name]}, where okdbench has {', '.join(known)}"
    if environment.get("device") == "cpu" and environment.get("backend") in (Backend.graph, Backend.compiled_graph):
        yield f"{RECORD} has backend {environment['backend']} on a CPU, and a graph needs a GPU"


def remarks(record: DoneRecord) -> Iterator[str]:
    """What a reader of the record should know of how it was computed, in one line each."""
    environment = record.environment
    if isinstance(record, LearnedRecord):
        if lacking := [name for name in CHOICES if name not in environment]:
            yield f"{RECORD} does not say how it was computed: no {', '.join(lacking)}"
        if record.status is State.finished and not record.weights_sha256:
            yield f"{RECORD} has no hash of the weights"
    if not environment.get("git_commit"):
        yield "names no commit of okdbench"
    if environment.get("git_dirty"):
        yield "trained with code that was changed after its commit"
    if plugins := environment.get("plugins"):
        yield f"needs plugins: {', '.join(sorted(plugins))}"
    if (processes := environment.get("processes", 1)) > 1:
        yield f"trained by {processes} processes, each of which normalises its own part of a batch"
    if environment.get("algorithms") == Algorithms.fast:
        yield "trained with fast algorithms, which need not give the same numbers again"
    for earlier in environment.get("earlier", ()):
        if told := [f"{name} {earlier[name]}" for name in TELLING if name in earlier]:  # type: ignore[literal-required]
            yield f"begun with another {', '.join(told)}"

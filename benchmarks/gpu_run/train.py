"""The part "train": cells of a recipe, trained as long as the time lasts, and resumed by the next call."""

import json
import shlex
from functools import partial
from typing import Any

from benchmarks.gpu_run.children import GRACE
from benchmarks.gpu_run.parts import Part
from benchmarks.gpu_run.session import Session
from benchmarks.gpu_run.together import OPTION

TELLING, FEWEST = 30.0, 20.0
"""Seconds that the table takes afterwards (and at most three times as long), and under which no training is begun."""


def train(session: Session, seconds: float, cells: str, jobs: int) -> None:
    """One call of `okdbench run` with the words ``cells``; ``jobs`` runs take turns."""
    part = Part(session.file("train"), seconds)
    calls = 1 + sum("found" in entry for entry in part.findings.values())
    length = seconds - TELLING - (0.0 if session.rehearsal else GRACE)
    part.item(f"call {calls}", partial(_train, session, length, cells, jobs), needs=seconds - length + FEWEST)


def _train(session: Session, seconds: float, cells: str, jobs: int) -> dict[str, Any]:
    """What is finished afterwards, and the table so far."""
    children, chosen = session.children, shlex.split(cells)
    words = [OPTION, str(jobs)] if jobs > 1 else []
    ended = children.okdbench(["run", *chosen, *session.there, *words], seconds)
    status = json.loads(
        children.okdbench(["status", *chosen, *session.folders, "--format", "json"], 1.5 * TELLING).text()
    )
    table = children.okdbench(["report", *chosen, *session.folders, "--format", "markdown"], 1.5 * TELLING).text()
    return {"cells": cells, "exit": ended.status, "counts": status["counts"], "table": table}

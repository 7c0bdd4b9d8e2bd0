"""The part "train" of on_gpu.py: cells of a recipe, trained as long as the time lasts, and continued the next time."""

import json
import shlex
from functools import partial
from typing import Any

from children import GRACE
from parts import Part
from place import Place
from together import OPTION

TELLING, FEWEST = 30.0, 20.0
"""Seconds that the table takes afterwards (and at most three times as long), and under which no training is begun."""


def train(place: Place, seconds: float, cells: str, jobs: int) -> None:
    """One call of `okdbench run` with the words ``cells``; ``jobs`` runs take turns."""
    part = Part(place.file("train"), seconds)
    calls = 1 + sum("found" in entry for entry in part.findings.values())
    length = seconds - TELLING - (0.0 if place.rehearsal else GRACE)
    part.item(f"call {calls}", partial(_train, place, length, cells, jobs), needs=seconds - length + FEWEST)


def _train(place: Place, seconds: float, cells: str, jobs: int) -> dict[str, Any]:
    """What is finished afterwards, and the table so far."""
    children, chosen = place.children, shlex.split(cells)
    words = [OPTION, str(jobs)] if jobs > 1 else []
    ended = children.okdbench(["run", *chosen, *place.there, *words], seconds)
    status = json.loads(
        children.okdbench(["status", *chosen, *place.folders, "--format", "json"], 1.5 * TELLING).text()
    )
    table = children.okdbench(["report", *chosen, *place.folders, "--format", "markdown"], 1.5 * TELLING).text()
    return {"cells": cells, "exit": ended.status, "counts": status["counts"], "table": table}

"""Thousands of damaged files of every kind: nothing is raised but okdbench's own exceptions."""

import copy
import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fabricate
import pytest
import torch
import yaml
from bad_input import RECIPE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from okdbench.errors import UsageError
from okdbench.plan import expand
from okdbench.recipe import load, parse_value
from okdbench.runs.folder import RunFolder
from okdbench.training import checkpoint

EXAMPLES = 2000
PARSED = yaml.safe_load(RECIPE) | {
    "source": {"paper": "P", "year": 2020, "table": "T"},
    "overrides": [{"when": {"method": "dml"}, "set": {"dml.peers": 3}}],
    "protocol": {"default": {"head": "student", "epoch": "last"}},
    "readings": {"ema": {"epoch": "best"}},
    "reported": {"cells": [{"dataset": "digits", "network": "resnet8", "method": "dml", "mean": 90.0}]},
    "claims": [{"id": "a", "text": "b", "formula": "cell(digits, resnet8, dml) > 3", "source": "s"}],
}
WORDS = ("digits", "resnet8", "dml", "baseline", "training.epochs", "dml.peers", "last", "best", "mean(peer?)", "epoch")
often = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(WORDS),
    st.integers(10**6, 10**30),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner),
    max_leaves=8,
)
pytestmark = pytest.mark.slow


def changed(whole: Any, seed: int, value: Any) -> Any:
    """The content with another value at a random place: an item, a key more, or all of it."""
    draws, result = random.Random(seed), copy.deepcopy(whole)
    place = result
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place))) if isinstance(place, list) else []
        if not keys:
            return value
        key = draws.choice(keys)
        if not isinstance(place[key], dict | list) or not place[key] or draws.random() < 0.3:
            if isinstance(place, dict) and draws.random() < 0.2:
                key = draws.choice(WORDS)
            place[key] = value
            return result
        place = place[key]


def damaged(content: bytes, seed: int) -> bytes:
    """The bytes with a few changed, cut out, doubled or put in."""
    draws, result = random.Random(seed), bytearray(content)
    for _ in range(draws.randint(1, 6)):
        start = draws.randrange(len(result) + 1)
        stop = min(start + draws.choice((1, 1, 2, 8, 64, 4096)), len(result))
        with_what = draws.choice(
            (b"", bytes(result[start:stop]) * 2, draws.randbytes(stop - start), b"\0\xff{[&*!\n: ")
        )
        result[start:stop] = with_what
    return bytes(result)


def only_ours(call: Callable[[], object]) -> None:
    """Call it; a mistake is told in lines that can be read."""
    try:
        call()
    except UsageError as error:
        assert str(error) and len(str(error)) < 100_000


@often
@given(st.integers(0, 2**32), values)
def test_recipes_with_other_values(seed: int, value: Any) -> None:
    path = _folder() / "fuzz.yaml"
    path.write_text(yaml.safe_dump(changed(PARSED, seed, value), allow_unicode=True), errors="replace")
    only_ours(lambda: expand(load(path)))


@often
@given(st.integers(0, 2**32))
def test_recipes_with_other_bytes(seed: int) -> None:
    path = _folder() / "fuzz.yaml"
    path.write_bytes(damaged(RECIPE.encode(), seed))
    only_ours(lambda: expand(load(path)))


@often
@given(st.text(alphabet=st.sampled_from("[]{}&*!|>-:,#'\"\\ \n\t%@`?a1.eE~<=")))
def test_values_of_options(text: str) -> None:
    only_ours(lambda: parse_value(text))


def read_all(run: RunFolder) -> None:
    """Everything that status, run and report read of a folder; what never raises, and what may tell of damage."""
    _ = run.state, run.reason, run.epochs_done, run.progress, run.failure, run.first_attempt, run.started
    for name in ("record", "config", "epochs"):
        only_ours(partial(getattr, run, name))


@often
@given(st.integers(0, 2**32), values, st.booleans())
def test_records(seed: int, value: Any, in_bytes: bool) -> None:
    run = _run()
    whole = (run / "record.json.whole").read_bytes()
    content = damaged(whole, seed) if in_bytes else json.dumps(changed(json.loads(whole), seed, value)).encode()
    (run / "record.json").write_bytes(content)
    read_all(RunFolder(run))


@often
@given(st.integers(0, 2**32), values, st.booleans(), st.booleans())
def test_metrics_and_other_files(seed: int, value: Any, in_bytes: bool, done: bool) -> None:
    run = _run()
    (run / "record.json").unlink(missing_ok=True)
    if done:
        (run / "record.json").write_bytes((run / "record.json.whole").read_bytes())
    name = random.Random(seed).choice(["metrics.jsonl"] * 3 + ["config.json", "progress.json", "failure.json"])
    whole = (run / f"{name}.whole").read_bytes()
    lines = whole.splitlines()
    index = seed % len(lines)
    if not in_bytes:
        lines[index] = json.dumps(
            changed(json.loads(lines[index] if name == "metrics.jsonl" else whole), seed, value)
        ).encode()
    (run / name).write_bytes(damaged(whole, seed) if in_bytes else b"\n".join(lines))
    read_all(RunFolder(run))
    (run / name).write_bytes(whole)


@often
@given(st.integers(0, 2**32))
def test_checkpoints(seed: int) -> None:
    folder = _folder() / "checkpoints"
    intact = folder / "intact"
    if not intact.exists():
        folder.mkdir()
        step = {"method": {"weight": torch.arange(600.0), "bias": torch.ones(3)}, "rate": 0.1}
        state = {
            "run": "0123456789ab",
            "epoch": 0,
            "batch": 3,
            "seconds": 1.5,
            "processes": 1,
            "metrics": "",
            "step": step,
        }
        checkpoint.write_tensors(state, intact)
    path = folder / "checkpoint-000000003.pt"
    path.write_bytes(damaged(intact.read_bytes(), seed))
    for state in checkpoint.readable(RunFolder(folder), "0123456789ab"):
        assert torch.equal(state["step"]["method"]["weight"], torch.arange(600.0))


_made: dict[str, Path] = {}


@pytest.fixture(autouse=True, scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One folder for all examples: a new one for each would take longer than they do."""
    _made.clear()
    _made["folder"] = tmp_path_factory.mktemp("fuzz")


def _folder() -> Path:
    return _made["folder"]


def _run() -> Path:
    if "run" not in _made:
        plan = fabricate.plan(_folder())
        run = fabricate.run(_folder(), plan.runs[0].config, {"student": [50.0, 60.0]})
        (run / "failure.json").write_text(json.dumps({"error": "because", "time": 1.0}))
        snapshot = {"epoch": 1, "epochs": 2, "step": 1, "steps": 2, "loss": 1.0, "head": "student", "accuracy": 50.0}
        (run / "progress.json").write_text(json.dumps({**snapshot, "images_per_second": 9.0, "time": 1.0}))
        for path in list(run.iterdir()):
            path.with_name(f"{path.name}.whole").write_bytes(path.read_bytes())
        _made["run"] = run
    return _made["run"]

"""The engine that the page on adding one gives, as it stands there."""

import runpy
from pathlib import Path
from typing import Any

import pytest
from commandline import STUB
from pages import ROOT, files

from okdbench.config import CosineSchedule, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.engines import Ended, Event, Job, Task
from okdbench.engines.queue import Patience
from okdbench.engines.registry import Request
from okdbench.errors import UsageError
from okdbench.runs.execution import Execution, Precision
from okdbench.runs.folder import RunFolder
from okdbench.runs.records import State
from okdbench.worker import WorkerOptions


@pytest.fixture
def example(tmp_path: Path) -> dict[str, Any]:
    """What the file of the page defines."""
    [(name, text)] = files((ROOT / "docs" / "add-an-engine.md").read_text()).items()
    (tmp_path / name).write_text(text)
    return runpy.run_path(str(tmp_path / name))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"device": "cuda:1"}, "--device cuda:1"),
        ({"parallel": 2, "processes": 3}, "--jobs 2, --processes 3"),
        ({"execution": Execution(jobs=0)}, "--jobs-per-device auto"),
        ({"settings": {"time": 1}}, "--engine-option time"),
    ],
)
def test_the_example_refuses_what_it_does_not_do(
    asked: dict[str, Any], told: str, example: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"^--engine one-at-a-time: cannot do {told}; leave that out$"):
        example["make"](Request(tmp_path, tmp_path, **asked))


def test_the_example_does_what_is_asked(example: dict[str, Any], tmp_path: Path) -> None:
    execution, patience = Execution(precision=Precision.float32, jobs=3), Patience(retries=1, stall_timeout=5)
    engine = example["make"](Request(tmp_path, tmp_path, execution=execution, patience=patience))
    assert (engine.runs_per_worker, engine.patience) == (3, patience)
    words = []
    example["OneAtATime"].start.__globals__["Process"] = lambda command, log: words.extend(command)
    engine.start(Task((Job(None, RunFolder(tmp_path), "first"),), 0, "cpu"))
    assert WorkerOptions.parse(words[3:])[1] == WorkerOptions(tmp_path, "cpu", execution=execution, stall_timeout=5)


def test_the_example_brings_jobs_to_an_end(example: dict[str, Any], tmp_path: Path) -> None:
    engine = example["OneAtATime"](Request(tmp_path, tmp_path), STUB)
    training = TrainingSettings(epochs=3, optimizer=OptimizerSettings(lr=0.1), schedule=CosineSchedule(name="cosine"))
    jobs = []
    for seed, does in enumerate(("fail", "finish")):
        run = {"dataset": "digits", "network": "resnet8", "method": "some", "settings": {"does": does}}
        config = RunConfig(**run, training=training, seed=seed)
        jobs.append(Job(config, RunFolder(tmp_path / "mine" / config.folder), does))
    events: list[Event] = []
    engine.submit(jobs, events.append)
    ended = {event.job.title: (event.state, event.reason) for event in events if isinstance(event, Ended)}
    assert ended == {"fail": (State.failed, "ValueError: out of luck"), "finish": (State.finished, None)}

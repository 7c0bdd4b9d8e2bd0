"""The engine that the page on adding one gives, as it stands there."""

import runpy
from pathlib import Path

from commandline import STUB
from pages import ROOT, files

from okdbench.config import CosineSchedule, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.engines import Ended, Event, Job
from okdbench.runs.folder import RunFolder
from okdbench.runs.records import State


def test_the_example_brings_jobs_to_an_end(tmp_path: Path) -> None:
    [(name, text)] = files((ROOT / "docs" / "add-an-engine.md").read_text()).items()
    (tmp_path / name).write_text(text)
    engine = runpy.run_path(str(tmp_path / name))["OneAtATime"](tmp_path, STUB)
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

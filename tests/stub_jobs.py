"""Jobs for the stub worker, and what becomes of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from okdbench.config import CosineSchedule, OptimizerSettings, RunConfig, TrainingSettings
from okdbench.engines import Ended, Engine, Event, Job
from okdbench.runs.folder import RunFolder


def job(folder: Path, does: str = "finish", seed: int = 0, teacher: RunConfig | None = None) -> Job:
    training = TrainingSettings(epochs=3, optimizer=OptimizerSettings(lr=0.1), schedule=CosineSchedule(name="cosine"))
    config = RunConfig(
        dataset="digits",
        network="resnet8",
        method="some",
        settings={"does": does},
        training=training,
        seed=seed,
        teacher=teacher,
    )
    return Job(config, RunFolder(folder / "mine" / config.folder), f"{does} {seed}")


def submit_to(engine: Engine, jobs: list[Job], on_event: Callable[[Event], None] = lambda event: None) -> list[Event]:
    """All events; ``on_event`` sees each as it happens."""
    events: list[Event] = []

    def both(event: Event) -> None:
        events.append(event)
        on_event(event)

    engine.submit(jobs, both)
    return events


def ends(events: list[Event]) -> dict[str, tuple[str, str | None]]:
    return {event.job.title: (event.state, event.reason) for event in events if isinstance(event, Ended)}


def notes(job: Job) -> Any:
    return json.loads((job.folder.path / "stub.json").read_text())

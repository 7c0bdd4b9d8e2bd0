"""Where runs execute: every engine starts the same worker command and reads results only from files."""

from okdbench.engines.base import Engine
from okdbench.engines.events import Advanced, Ended, Event, OnEvent, Restarting, Started, Stopping
from okdbench.engines.local import LocalEngine, usable_cores
from okdbench.engines.queue import Patience, Task, Worker
from okdbench.plan.jobs import Job

__all__ = [
    "Advanced",
    "Ended",
    "Engine",
    "Event",
    "Job",
    "LocalEngine",
    "OnEvent",
    "Patience",
    "Restarting",
    "Started",
    "Stopping",
    "Task",
    "Worker",
    "usable_cores",
]

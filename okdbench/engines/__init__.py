"""Where runs execute: every engine starts the same worker command and learns results only from files."""

from okdbench.engines.base import Advanced, Ended, Engine, Event, OnEvent, Snapshot, Started, Stopping
from okdbench.engines.local import LocalEngine, usable_cores
from okdbench.plan.jobs import Job

__all__ = [
    "Advanced",
    "Ended",
    "Engine",
    "Event",
    "Job",
    "LocalEngine",
    "OnEvent",
    "Snapshot",
    "Started",
    "Stopping",
    "usable_cores",
]

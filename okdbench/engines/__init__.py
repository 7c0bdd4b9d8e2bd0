"""Where runs execute: every engine starts the same worker command and reads results only from files."""

from okdbench.engines.base import Advanced, Ended, Engine, Event, OnEvent, Restarting, Started, Stopping
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
    "Restarting",
    "Started",
    "Stopping",
    "usable_cores",
]

"""Where runs execute: every engine starts the same worker command and learns results only from files."""

from okdbench.engines.base import Advanced, Ended, Engine, Event, Job, OnEvent, Snapshot, Started, Stopping
from okdbench.engines.local import LocalEngine, usable_cores
from okdbench.engines.survey import Planned, check, collect, find_device, set_aside, survey

__all__ = [
    "Advanced",
    "Ended",
    "Engine",
    "Event",
    "Job",
    "LocalEngine",
    "OnEvent",
    "Planned",
    "Snapshot",
    "Started",
    "Stopping",
    "check",
    "collect",
    "find_device",
    "set_aside",
    "survey",
    "usable_cores",
]

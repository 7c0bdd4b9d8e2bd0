"""What came out: run folders read back, one frame of all runs (`frame`), the cells of a table with verdicts (`cells`).

This package itself imports neither pandas nor torch, so that engines can watch run folders cheaply.
"""

from okdbench.results.records import (
    DONE,
    DoneRecord,
    Record,
    State,
    StoredRun,
    checked_record,
    read_config,
    read_failure,
    read_metrics,
    read_record,
    read_run,
    state,
)

__all__ = [
    "DONE",
    "DoneRecord",
    "Record",
    "State",
    "StoredRun",
    "checked_record",
    "read_config",
    "read_failure",
    "read_metrics",
    "read_record",
    "read_run",
    "state",
]

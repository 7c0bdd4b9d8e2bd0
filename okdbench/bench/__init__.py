"""The speed of training: our loop beside one as the papers publish it and a carefully written eager one."""

from okdbench.bench.cases import BenchGrid, cases
from okdbench.bench.loops import TimedRun
from okdbench.bench.measure import LOOPS, Effort, time_loops, time_runs
from okdbench.bench.operations import StepOperations, count_operations
from okdbench.bench.record import Measurement, save_measurement
from okdbench.bench.timing import Spread

__all__ = [
    "LOOPS",
    "BenchGrid",
    "Effort",
    "Measurement",
    "Spread",
    "StepOperations",
    "TimedRun",
    "cases",
    "count_operations",
    "save_measurement",
    "time_loops",
    "time_runs",
]

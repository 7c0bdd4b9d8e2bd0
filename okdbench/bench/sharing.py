"""How many runs a device should train at a time, in turns in one process, found by trial."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

from okdbench import data
from okdbench.bench.loops import TimedRun
from okdbench.bench.ours import Ours
from okdbench.bench.timing import Spread
from okdbench.runs.execution import GraphError, NotEnoughMemory

CANDIDATES = (1, 2, 3, 4)
GAIN = 1.03
"""One more run at a time must raise the rate by this factor, or it is not worth its memory."""
WARM_UP, BLOCKS, STEPS = 10, 3, 50


def tune_jobs_per_device(run: TimedRun) -> tuple[int, dict[int, float]]:
    """Return the number of runs to train at a time, and the rates it was chosen by, as `measure_rates` gives them.

    The answer is 1, without a measurement, on a CPU, where one run uses all cores, and for images that are read from
    files, which keeps the cores busy. The trial runs in a process of its own, which leaves nothing on the device.
    """
    if run.device.type != "cuda" or data.get(run.config.dataset).streamed:
        return 1, {}
    for count in range(len(CANDIDATES), 0, -1):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            try:
                rates = pool.submit(measure_rates, run, CANDIDATES[:count]).result()
            except NotEnoughMemory:
                continue
            except GraphError:  # the runs themselves will say why, and go on without
                break
        return largest_gain(rates), rates
    return 1, {}


def measure_rates(run: TimedRun, candidates: Sequence[int] = CANDIDATES, steps: int = STEPS) -> dict[int, float]:
    """Return images per second of all runs together, for each number of runs at a time."""
    ours = Ours(replace(run, execution=replace(run.execution, jobs=max(candidates))))
    ours.block(WARM_UP)
    rates = {}
    for jobs in candidates:
        seconds = Spread.of([ours.block(steps, jobs).seconds / steps for _ in range(BLOCKS)]).median
        rates[jobs] = run.config.training.batch_size / seconds
    return rates


def largest_gain(rates: dict[int, float]) -> int:
    """Return the largest number of runs that was still a gain."""
    best = min(rates)
    for jobs in sorted(rates):
        if rates[jobs] >= GAIN * rates[best]:
            best = jobs
    return best

"""How many runs a device trains best at a time, in turns in one process: tried out."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

from okdbench import data
from okdbench.bench.loops import Setting
from okdbench.bench.ours import Ours
from okdbench.bench.timing import Spread

TRIED = (1, 2, 3, 4)
GAIN = 1.03
"""One more run at a time must train so many times as many images as before, or it is not worth its memory."""
WARM_UP, BLOCKS, STEPS = 10, 3, 50


def best(setting: Setting) -> tuple[int, dict[int, float]]:
    """The number of runs, and what was measured: images per second of all of them together, by their number.

    On a CPU one run uses all cores, and images that are read from files keep the cores busy: one, nothing measured.
    Tried in a process of its own, which leaves nothing on the device.
    """
    if setting.device.type != "cuda" or data.get(setting.config.dataset).streamed:
        return 1, {}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        rates = pool.submit(measured, setting).result()
    return chosen(rates), rates


def measured(setting: Setting, steps: int = STEPS) -> dict[int, float]:
    """Images per second with `TRIED` numbers of the run at a time."""
    ours = Ours(replace(setting, execution=replace(setting.execution, jobs=max(TRIED))))
    ours.block(WARM_UP)
    return {jobs: setting.config.training.batch_size / _step(ours, jobs, steps) for jobs in TRIED}


def _step(ours: Ours, jobs: int, steps: int) -> float:
    """Seconds from one step to the next, whichever run takes it."""
    return Spread.of([ours.block(steps, jobs).seconds / steps for _ in range(BLOCKS)]).median


def chosen(rates: dict[int, float]) -> int:
    """The greatest number that was still a gain."""
    best = min(rates)
    for jobs in sorted(rates):
        if rates[jobs] >= GAIN * rates[best]:
            best = jobs
    return best

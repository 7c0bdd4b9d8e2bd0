"""Clocks, and loops timed in turns, so that a machine that slows down slows all of them."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch

from okdbench.training.memory import give_back_freed_memory


@dataclass(frozen=True)
class Spread:
    """A median with the least and the greatest value around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the median and the range of at least one value."""
        return cls(median(values), min(values), max(values))


@dataclass
class Stopwatch:
    """Seconds that passed, and processor seconds that this process and its loader processes used."""

    seconds: float = 0.0
    processor_seconds: float = 0.0

    def __truediv__(self, parts: int) -> "Stopwatch":
        """Return the mean over ``parts`` parts."""
        return Stopwatch(self.seconds / parts, self.processor_seconds / parts)


@contextmanager
def stopwatch(device: torch.device) -> Iterator[Stopwatch]:
    """Time the block, synchronising with the device before and after."""
    watch = Stopwatch()
    synchronise(device)
    processor, begun = _processor_seconds(), time.perf_counter()
    yield watch
    synchronise(device)
    watch.seconds = time.perf_counter() - begun
    watch.processor_seconds = _processor_seconds() - processor


def synchronise(device: torch.device) -> None:
    """Wait until the device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _processor_seconds() -> float:
    """Return seconds used by this process and, where the system reports them, by its running child processes."""
    tick = os.sysconf("SC_CLK_TCK")
    total = time.process_time()
    for child in active_children():
        try:
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / tick
    return total


K = TypeVar("K")
TimedBlock = Callable[[int], Stopwatch]
"""Runs the given number of steps and returns their time, excluding its own preparation and clean-up."""


def interleaved(blocks: Mapping[K, TimedBlock], rounds: int, steps: int) -> dict[K, list[Stopwatch]]:
    """Time ``rounds`` blocks of each, in turns; each round begins with the next loop."""
    names = list(blocks)
    times: dict[K, list[Stopwatch]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(blocks[name](steps))
    return times


def ratios(slow: Sequence[float], fast: Sequence[float]) -> Spread:
    """Return the median and range of the rounds' ratios ``slow`` / ``fast``."""
    return Spread.of([one / other for one, other in zip(slow, fast, strict=True)])


class PeakMemory:
    """Peak memory since it was created, less the memory in use then: torch's on a GPU, else the process's."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_reserved(device)
        else:
            give_back_freed_memory()
            _reset_resident_peak()
            self._before = _resident("VmRSS")

    def read(self) -> int | None:
        """Return the bytes; None if the system does not report them."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_reserved(self._device) - self._before
        now = _resident("VmHWM")
        return now - self._before if now else None


def _reset_resident_peak() -> None:
    """Reset Linux's record of the largest resident set."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _resident(field: str) -> int:
    """Return a line of /proc/self/status in bytes; 0 if there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)

"""Blocks in turns, ratios round by round, clocks and memory."""

import time

import pytest
import torch

from okdbench.bench.timing import PeakMemory, Spread, Stopwatch, interleaved, ratios, stopwatch

CPU = torch.device("cpu")


def test_blocks_take_turns_and_the_first_changes() -> None:
    called: list[tuple[str, int]] = []

    def block(name: str):
        def run(steps: int) -> Stopwatch:
            called.append((name, steps))
            return Stopwatch(len(called), 0.0)

        return run

    times = interleaved({name: block(name) for name in "abc"}, rounds=4, steps=7)
    assert "".join(name for name, _ in called) == "abcbcacababc"
    assert {steps for _, steps in called} == {7}
    assert [watch.seconds for watch in times["a"]] == [1, 6, 8, 10]


def test_ratios_are_taken_round_by_round() -> None:
    """A machine that is twice as slow in the last round leaves them alone."""
    assert ratios([2.0, 2.2, 4.0], [1.0, 1.0, 2.0]) == Spread(2.0, 2.0, 2.2)


def test_the_stopwatch_counts_work_and_not_sleep_as_processor_time() -> None:
    with stopwatch(CPU) as asleep:
        time.sleep(0.05)
    with stopwatch(CPU) as awake:
        begun = time.process_time()
        while time.process_time() - begun < 0.05:
            pass
    assert asleep.seconds >= 0.05 > asleep.processor_seconds
    assert awake.processor_seconds >= 0.05


def test_peak_memory_sees_what_was_freed() -> None:
    memory = PeakMemory(CPU)
    before = memory.read()
    if before is None:
        pytest.skip("the system does not tell")
    held = torch.ones(50_000_000)
    del held
    assert memory.read() - before > 150_000_000

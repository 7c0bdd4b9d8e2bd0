"""One run timed in several loops, which take turns in one process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch

from okdbench import data, methods
from okdbench.bench.floor import Floor, Work, count_work, floor, peaks
from okdbench.bench.loops import AsPublished, FairEager, Loop, TimedRun
from okdbench.bench.ours import Ours
from okdbench.bench.published import is_published
from okdbench.bench.record import Epochs, Measurement, Timing
from okdbench.bench.timing import PeakMemory, Spread, Stopwatch, interleaved, ratios, stopwatch
from okdbench.config import RunConfig
from okdbench.networks.counting import weightless
from okdbench.training.environment import environment

LOOPS: dict[str, Callable[[TimedRun], Loop]] = {kind.name: kind for kind in (AsPublished, FairEager, Ours)}


@dataclass(frozen=True)
class Effort:
    """How much to measure: ``blocks`` of ``steps`` steps of each loop after ``warm_up`` steps, and whole epochs."""

    blocks: int
    steps: int
    warm_up: int
    epochs: int

    @classmethod
    def chosen(
        cls,
        device: torch.device,
        quick: bool = False,
        blocks: int | None = None,
        steps: int | None = None,
        epochs: int | None = None,
    ) -> "Effort":
        """Fill in what is not chosen, for a measurement of minutes, or of seconds with ``quick``."""
        usual = cls(5, 200, 50, 1) if device.type == "cuda" else cls(5, 3, 2, 0)
        usual = cls(2, 2, 1, 0) if quick else usual
        return cls(
            blocks=usual.blocks if blocks is None else blocks,
            steps=usual.steps if steps is None else steps,
            warm_up=usual.warm_up,
            epochs=usual.epochs if epochs is None else epochs,
        )


@dataclass(frozen=True)
class WarmedUpLoop:
    """A loop after its warm-up, and the seconds and bytes that it took to start."""

    loop: Loop
    seconds: float
    memory: int | None


Started = dict[str, WarmedUpLoop]
Say = Callable[[str], None]


def time_loops(run: TimedRun, effort: Effort, loops: Sequence[str], say: Say) -> Measurement:
    """Time the run in each of ``loops`` (names of `LOOPS`) and in ours; ``say`` gets a line about each stage.

    The loop as published is left out for methods that have none.
    """
    started: Started = {}
    for name in [name for name in LOOPS if name in loops or name == Ours.name]:
        if name != AsPublished.name or is_published(methods.get(run.config.method)):
            say(f"{name}: building and warming up")
            started[name] = _start(name, run, effort.warm_up)
    say(f"{', '.join(started)}: {effort.blocks} blocks of {effort.steps} steps each")
    watches = interleaved({name: each.loop.block for name, each in started.items()}, effort.blocks, effort.steps)
    epochs = _epochs(run, started, effort.epochs, say) if effort.epochs else None
    return _measurement(run, started, watches, effort.steps, epochs)


def time_runs(runs: Sequence[TimedRun], effort: Effort, say: Say) -> list[Measurement]:
    """Time several runs on one device in our loop, in turns, so that their blocks of one round can be compared."""
    started = []
    for run in runs:
        say(f"{run.config.network} {run.config.method}: building and warming up")
        started.append(_start(Ours.name, run, effort.warm_up))
    say(f"{effort.blocks} blocks of {effort.steps} steps each, in turns")
    watches = interleaved({number: each.loop.block for number, each in enumerate(started)}, effort.blocks, effort.steps)
    return [
        _measurement(run, {Ours.name: each}, {Ours.name: watches[number]}, effort.steps)
        for number, (run, each) in enumerate(zip(runs, started, strict=True))
    ]


def _measurement(
    run: TimedRun,
    started: Started,
    watches: Mapping[str, Sequence[Stopwatch]],
    steps: int,
    epochs: Epochs | None = None,
) -> Measurement:
    """Summarise the blocks of a run's loops."""
    config, where = run.config, environment(run.device)
    ours = started[Ours.name].loop
    assert isinstance(ours, Ours)
    work, reached = _work(config), peaks(run.device, ours.dtype, where["device_name"])
    bound = floor(work, reached, ours.dtype)
    timings = {
        name: _timing(each, watches[name], steps, config.training.batch_size, bound) for name, each in started.items()
    }
    return Measurement(
        config=config,
        execution=ours.facts(),
        environment=where,
        device=where["device_name"],
        peaks=asdict(reached),
        floor={**asdict(work), **asdict(bound)},
        loops=timings,
        ratios=_ratios({name: timing.blocks for name, timing in timings.items()}),
        processor_ratios=_ratios({name: [watch.processor_seconds for watch in watches[name]] for name in timings}),
        epochs=epochs,
        nodes=ours.nodes(),
    )


def _work(config: RunConfig) -> Work:
    """Count the work of one training step for each image."""
    dataset = data.get(config.dataset)
    with weightless():
        teacher = methods.make(config.teacher, dataset.classes) if config.teacher else None
        method = methods.make(config, dataset.classes, teacher)
    return count_work(method.train(), dataset.image_size)


def _start(name: str, run: TimedRun, warm_up: int) -> WarmedUpLoop:
    """Build a loop, take its first step, and warm up."""
    memory = PeakMemory(run.device)
    with stopwatch(run.device) as watch:
        loop = LOOPS[name](run)
        loop.block(1)
    loop.block(warm_up)
    return WarmedUpLoop(loop, watch.seconds, memory.read())


def _timing(started: WarmedUpLoop, watches: Sequence[Stopwatch], steps: int, images: int, bound: Floor) -> Timing:
    """Summarise blocks of ``steps`` steps, each on a batch of ``images`` images."""
    blocks = tuple(1e3 * watch.seconds / steps for watch in watches)
    step = Spread.of(blocks)
    return Timing(
        blocks=blocks,
        step_ms=step,
        processor_ms=Spread.of([1e3 * watch.processor_seconds / steps for watch in watches]),
        images_per_second=1e3 * images / step.median,
        percent_of_floor=100 * 1e3 * images * bound.seconds / step.median,
        setup_seconds=started.seconds,
        peak_memory_bytes=started.memory,
    )


def _ratios(times: Mapping[str, Sequence[float]]) -> dict[str, Spread]:
    """Return each other loop's time divided by ours."""
    return {name: ratios(each, times[Ours.name]) for name, each in times.items() if name != Ours.name}


def _epochs(run: TimedRun, started: Mapping[str, WarmedUpLoop], number: int, say: Say) -> Epochs:
    """Time ``number`` whole epochs of every loop."""
    seconds: dict[str, tuple[float, ...]] = {}
    for name, each in started.items():
        say(f"{name}: whole epochs ({number})")
        seconds[name] = tuple(watch.seconds for watch in each.loop.epochs(number))
    dataset, chosen = data.get(run.config.dataset), run.config.data
    return Epochs(
        images=chosen.subset or dataset.train_size,
        test_images=chosen.test_subset or dataset.test_size,
        seconds=seconds,
        ratios=_ratios(seconds),
    )

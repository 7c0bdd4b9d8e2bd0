"""Measured speed as tables."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from okdbench.bench import Measurement, Spread, StepOperations
from okdbench.bench.timing import ratios
from okdbench.config import RunConfig
from okdbench.plan import Run
from okdbench.plan.cost import step_macs
from okdbench.report.model import Appendix, Document, Listing, unique
from okdbench.report.numbers import DASH

NAMES = ("Data set", "Network", "Method", "Settings", "Batch", "Runs at once")
_SPEED = ("ms/step", "images/s", "as-published", "fair-eager", "% of floor", "start (s)", "memory (MB)")
_LOOP = ("ms/step", "lowest", "highest", "processor ms", "images/s", "% of floor", "start (s)", "memory (MB)")
_SIDE_BY_SIDE = ("ms/step", "processor ms", "images/s", "time", "arithmetic")
SIDE_BY_SIDE = (
    "ms/step: median over the blocks; time: of a step, as a multiple of the first row's (median over rounds of one "
    "block each, lowest to highest in brackets); arithmetic: the same of its operations, with the share of those steps "
    "that are taken only now and then"
)
LEGEND = (
    "ms/step: median over the blocks; as-published, fair-eager: time of that loop as a multiple of ours (median over "
    "rounds of one block each, lowest to highest in brackets)",
    "as-published: PIL transforms in loader processes, float32 NCHW, eager operations, numbers read back every "
    "step; fair-eager: images on the device, channels-last, bfloat16 where the device has units for it, no graph",
    "% of floor: the time of the convolutions' arithmetic or modelled memory traffic at this device's peak rates, in "
    "percent of the measured time; caches may allow more than 100",
    "start: seconds to the end of the first step, including compilation and capture; memory: peak of the loop",
)

COUNTED = (
    "operations: calls of torch that launch work on a device, in a step as it is recorded on a GPU (views folded, "
    "bfloat16); a call on a list of tensors is one, and one call may be several kernels; evaluation: those of one "
    "batch, with the metrics of all heads"
)


@dataclass(frozen=True)
class SpeedReport:
    """See `okdbench.report.formats.Content`."""

    schema: ClassVar[str] = "okdbench.bench/1"
    measurements: Sequence[Measurement]

    def documents(self) -> list[Document]:
        """Ours beside the other loops, loop by loop, and whole epochs."""
        title, tables = "Speed of training", tuple(_listings(self.measurements))
        return [Document(title, "", title, tables, (), tuple(_legend(self.measurements)))]

    def appendices(self) -> list[Appendix]:
        """Return an empty one."""
        return [Appendix()]

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary per measurement: what was timed, and its main figures."""
        return [_row(measurement) for measurement in self.measurements]

    def facts(self) -> dict[str, Any]:
        """Return an object with a list ``measurements``, each as it is saved."""
        return {"measurements": [measurement.facts() for measurement in self.measurements]}


@dataclass(frozen=True)
class RecipeSpeedReport:
    """One run of each training of a recipe, timed in turns; see `okdbench.report.formats.Content`."""

    schema: ClassVar[str] = "okdbench.bench-recipe/1"
    title: str
    runs: Sequence[Run]
    measurements: Sequence[Measurement]

    def documents(self) -> list[Document]:
        """Each training's step, and its time and arithmetic as multiples of the first one's."""
        title = f"{self.title}: speed of training"
        rows = []
        for run, m, time, work in self._compared():
            step = (f"{value:.2f}" for value in (m.ours.step_ms.median, m.ours.processor_ms.median))
            rows.append(
                ((*run.names.values(),), (*step, f"{m.ours.images_per_second:,.0f}", _ratio(time), f"{work:.2f}"))
            )
        names = tuple(name.capitalize() for name in self.runs[0].names)
        table = _listing("One run of each, in turns", _SIDE_BY_SIDE, rows, names)
        return [Document(title, "", title, (table,), (), (SIDE_BY_SIDE, *unique(map(_conditions, self.measurements))))]

    def appendices(self) -> list[Appendix]:
        """Return an empty one."""
        return [Appendix()]

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary per training."""
        return [
            {**run.names, **_row(m), "time": time.median, "arithmetic": work} for run, m, time, work in self._compared()
        ]

    def facts(self) -> dict[str, Any]:
        """Return an object with a list ``trainings``: names, multiples of the first, and the measurement as saved."""
        return {
            "trainings": [
                {"names": run.names, "time": asdict(time), "arithmetic": work, "measurement": m.facts()}
                for run, m, time, work in self._compared()
            ]
        }

    def _compared(self) -> Iterator[tuple[Run, Measurement, Spread, float]]:
        """Each training with its measurement, and its time and arithmetic as multiples of the first one's."""
        first = self.measurements[0]
        for run, m in zip(self.runs, self.measurements, strict=True):
            work = step_macs(m.config) * m.config.training.batch_size
            plain = step_macs(first.config) * first.config.training.batch_size
            yield run, m, ratios(m.ours.blocks, first.ours.blocks), work / plain


@dataclass(frozen=True)
class OperationsReport:
    """What `count_operations` found; see `okdbench.report.formats.Content`."""

    schema: ClassVar[str] = "okdbench.operations/1"
    cases: Sequence[StepOperations]

    def documents(self) -> list[Document]:
        """Return the totals of every case, and the step's operations by name."""
        title = "Operations of a training step"
        rows = [(_timed(c.config), (f"{c.total:,}", f"{c.evaluation_total:,}")) for c in self.cases]
        totals = _listing("In total", ("operations", "evaluation"), rows)
        names = (_by_name(case) for case in self.cases)
        return [Document(title, "", title, (totals, *names), (), (COUNTED,))]

    def appendices(self) -> list[Appendix]:
        """Return an empty one."""
        return [Appendix()]

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary per case."""
        totals = [(c.total, c.evaluation_total) for c in self.cases]
        return [
            {**_case(c.config), "operations_per_step": step, "operations_per_evaluation_batch": evaluation, **c.counts}
            for c, (step, evaluation) in zip(self.cases, totals, strict=True)
        ]

    def facts(self) -> dict[str, Any]:
        """Return an object with a list ``operations``, one entry for each case."""
        return {"operations": [case.facts() for case in self.cases]}


def _by_name(case: StepOperations) -> Listing:
    """Return the operations of one case by name."""
    title = ", ".join(filter(None, _timed(case.config)))
    rows = tuple((name, f"{number:,}") for name, number in case.counts.items())
    return Listing(title, ("Operation", "operations"), rows, 1)


def _row(m: Measurement) -> dict[str, Any]:
    figures = {name: value for name, value in m.facts().items() if not isinstance(value, dict)}
    return {**_case(m.config), "jobs": m.jobs, **figures}


def _case(run: RunConfig) -> dict[str, Any]:
    timed = {"dataset": run.dataset, "network": run.network, "method": run.method, **run.settings}
    return {**timed, "batch_size": run.training.batch_size}


def _listings(measurements: Sequence[Measurement]) -> Iterator[Listing]:
    """Ours beside the others, loop by loop, and whole epochs; of every device."""
    for device in unique(m.device for m in measurements):
        chosen = [m for m in measurements if m.device == device]
        yield _listing(f"Training on {device}", _SPEED, [(_names(m), _speed(m)) for m in chosen])
        loops = [((*_names(m), name), _loop(m, name)) for m in chosen for name in m.loops]
        yield _listing("Loop by loop", _LOOP, loops, (*NAMES, "Loop"))
        epochs = [(_names(m), _epoch(m)) for m in chosen if m.epochs]
        if epochs:
            title = "Whole epochs, with evaluation and each loop's checkpoints"
            yield _listing(title, ("images", "seconds", "as-published", "fair-eager"), epochs)


def _listing(
    title: str,
    numbers: tuple[str, ...],
    rows: Sequence[tuple[tuple[str, ...], tuple[str, ...]]],
    names: tuple[str, ...] = NAMES,
) -> Listing:
    """Return a table without the columns of names that are empty."""
    used = [index for index in range(len(names)) if any(row[0][index] for row in rows)]
    headings = (*(names[index] for index in used), *numbers)
    return Listing(title, headings, tuple((*(n[i] for i in used), *v) for n, v in rows), len(numbers))


def _names(m: Measurement) -> tuple[str, ...]:
    """Return what was trained."""
    return _timed(m.config, str(m.jobs) if m.jobs > 1 else "")


def _timed(run: RunConfig, jobs: str = "") -> tuple[str, ...]:
    settings = " ".join(f"{key}={value}" for key, value in run.settings.items())
    return run.dataset, run.network, run.method, settings, str(run.training.batch_size), jobs


def _speed(m: Measurement) -> tuple[str, ...]:
    ours = m.ours
    return (
        f"{ours.step_ms.median:.2f}",
        f"{ours.images_per_second:,.0f}",
        *(_ratio(m.ratios.get(loop)) for loop in ("as-published", "fair-eager")),
        f"{ours.percent_of_floor:.1f}",
        f"{ours.setup_seconds:.1f}",
        _megabytes(ours.peak_memory_bytes),
    )


def _loop(m: Measurement, name: str) -> tuple[str, ...]:
    timing = m.loops[name]
    return (
        *(f"{value:.2f}" for value in (timing.step_ms.median, timing.step_ms.low, timing.step_ms.high)),
        f"{timing.processor_ms.median:.2f}",
        f"{timing.images_per_second:,.0f}",
        f"{timing.percent_of_floor:.1f}",
        f"{timing.setup_seconds:.1f}",
        _megabytes(timing.peak_memory_bytes),
    )


def _epoch(m: Measurement) -> tuple[str, ...]:
    assert m.epochs
    seconds = Spread.of(m.epochs.seconds["ours"])
    loops = ("as-published", "fair-eager")
    return f"{m.epochs.images:,}", f"{seconds.median:.2f}", *(_ratio(m.epochs.ratios.get(loop)) for loop in loops)


def _ratio(spread: Spread | None) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f}-{spread.high:.2f})" if spread else DASH


def _megabytes(value: int | None) -> str:
    return DASH if value is None else f"{value / 1e6:,.0f}"


def _legend(measurements: Sequence[Measurement]) -> Iterator[str]:
    """What the columns mean, and the conditions of the measurements."""
    yield from LEGEND
    yield from unique(_conditions(m) for m in measurements)


def _conditions(m: Measurement) -> str:
    """Return the device, versions, backend and precision in one line."""
    where, peaks = m.environment, m.peaks
    return (
        f"{m.device}: torch {where['torch']}, CUDA {where['cuda'] or 'none'}, "
        f"{where['threads']} thread{'s' * (where['threads'] != 1)}; "
        f"{', '.join(f'{key} {value}' for key, value in m.execution.items() if value)}; {peaks['source']} peaks of "
        f"{peaks['bandwidth'] / 1e9:,.0f} GB/s and {peaks['operations'] / 1e9:,.0f} GFLOP/s"
    )

"""The cells of a table as measured: spread over seeds, comparison with the printed number, and a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from okdbench.errors import UsageError
from okdbench.plan import Cell, Plan
from okdbench.progress import tracked
from okdbench.recipe.axes import DEFAULT_READING
from okdbench.recipe.schema import Metric
from okdbench.results.curves import Curves, curves, keep
from okdbench.results.protocol import BEST_ON_TEST, CHOSEN_EPOCHS, Accuracy, HeadAndEpoch, chosen, evaluate, trajectory
from okdbench.results.stats import (
    ROUNDING,
    SIGNIFICANCE,
    Comparison,
    Paired,
    Summary,
    compare_means,
    holm,
    paired_difference,
    proportion,
    summarise,
)
from okdbench.runs.folder import RunFolder
from okdbench.runs.heads import DEPLOYED, Head
from okdbench.runs.records import Cause, LearnedRecord, State

TOO_MANY_SEEDS = "no practicable number of seeds would"
ProtocolChoice = Literal["recipe", "last", "best"] | HeadAndEpoch
Verdict = Literal[
    "reproduced",
    "higher",
    "lower",
    "inconclusive",
    "single run",
    "incomplete",
    "unavailable",
    "changed settings",
    "other protocol",
    "no reported number",
]


@dataclass(frozen=True)
class Chosen:
    """A choice by accuracy: ``what`` ("head", "epoch", "head and epoch"), on ``held_out`` images; 0: the test set."""

    what: str
    held_out: int

    @property
    def where(self) -> str:
        """The images in words."""
        return f"{self.held_out:,} images held out of training" if self.held_out else "the test set"

    def __str__(self) -> str:
        return f"{self.what} on {self.where}"


@dataclass(frozen=True)
class CellResult:
    """One cell under one protocol.

    ``values`` are in percent in the paper's ``metric``, one for each of ``seeds``, the finished runs; ``states``
    has one entry for every planned run. ``head`` is "deployed" only where no finished run says which head that is.
    Where the cell's statistic is the collapse rate, ``metric`` says so, and every run that ended has a value: 100
    if it ended collapsed, 0 otherwise. ``wanted`` is how many seeds the recipe has. ``curves`` are the finished
    runs' values after every epoch. ``computed`` has each finished run's identity and how it was computed. ``paired`` is
    the difference to the recipe's reference method, None if it names none or has no runs. ``hours`` are how long each
    finished run took.
    """

    cell: Cell
    head: Head
    epoch: str
    metric: Metric | Literal["collapse rate"]
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    states: tuple[State, ...]
    summary: Summary
    comparison: Comparison | None
    verdict: Verdict
    wanted: int
    curves: tuple[tuple[float, ...], ...] = ()
    computed: tuple[tuple[str, str], ...] = ()
    paired: Paired | None = None
    hours: tuple[float, ...] = ()

    @property
    def by_seed(self) -> dict[int, float]:
        """The numbers of the finished runs."""
        return dict(zip(self.seeds, self.values, strict=True))

    @property
    def is_rate(self) -> bool:
        """Whether the number is the share of collapsed runs."""
        return self.metric == "collapse rate"

    @property
    def collapsed(self) -> int:
        """How many runs ended collapsed, in a rate."""
        return sum(value > 0 for value in self.values) if self.is_rate else 0

    @property
    def chosen(self) -> Chosen | None:
        """What was picked by its accuracy, and on which images; None for nothing."""
        what = "" if self.is_rate else chosen(self.head, self.epoch)
        held_out = self.cell.runs[0].config.data.validation if self.cell.runs and self.epoch != BEST_ON_TEST else 0
        return Chosen(what, held_out) if what else None

    @property
    def chosen_on_test(self) -> bool:
        """Whether head or epoch were picked by test accuracy, which makes the number optimistic."""
        return self.chosen is not None and not self.chosen.held_out

    def never_below(self, other: "CellResult") -> bool:
        """Whether no run can be worse than in the other cell: it takes the best on the test set of what that reads."""
        same = self.cell.runs == other.cell.runs and (self.head, self.epoch) != (other.head, other.epoch)
        epochs = self.epoch == other.epoch or self.epoch in CHOSEN_EPOCHS
        return same and self.chosen_on_test and epochs and self.head.covers(other.head)

    def by_seed_in(self, metric: Metric) -> dict[int, float]:
        """Return the numbers of the finished runs in this metric; a rate stays one."""
        if self.is_rate or self.metric == metric:
            return self.by_seed
        return {seed: 100 - value for seed, value in self.by_seed.items()}

    def minus(self, other: "CellResult", metric: Metric) -> Paired | None:
        """Return the difference to another cell, seed by seed, without a test where it can have one sign only.

        None where no seed is finished in both, or only one of the two is a rate.
        """
        if self.is_rate != other.is_rate:
            return None
        paired = paired_difference(self.by_seed_in(metric), other.by_seed_in(metric))
        if paired and (self.never_below(other) or other.never_below(self)):
            return Paired(replace(paired.summary, ci95=None), None)
        return paired

    @property
    def planned(self) -> int:
        """How many runs the plan asks for."""
        return len(self.states)

    @property
    def complete(self) -> bool:
        """Whether all planned runs have a number."""
        return len(self.values) == self.planned > 0

    @property
    def diverged(self) -> int:
        """How many of them ended without a usable network; they count as not finished, except in a collapse rate."""
        return self.states.count("diverged")

    @property
    def verdict_text(self) -> str:
        """The verdict with its count: "incomplete 2/3", "inconclusive, needs about n = 7 seeds"."""
        if self.verdict == "incomplete":
            return f"incomplete {self.summary.n}/{self.wanted}"
        if self.verdict == "inconclusive" and self.comparison:
            needed = self.comparison.seeds_needed
            if self.comparison.test is None:
                return f"{self.verdict}, all {self.summary.n} runs are equal"
            return f"{self.verdict}, " + (
                f"needs about n = {needed} seeds" if needed else f"{TOO_MANY_SEEDS} decide it"
            )
        return self.verdict


@dataclass(frozen=True)
class _Runs:
    """The runs of a cell: their states, and accuracy [epochs, heads] and deployed head of the finished ones.

    ``selections`` are the same accuracies on validation images, None for runs that hold none out. ``collapses`` has the
    seeds of all runs that ended, and whether they ended collapsed.
    """

    states: tuple[State, ...]
    seeds: tuple[int, ...]
    tables: tuple[Accuracy, ...]
    selections: tuple[Accuracy | None, ...]
    heads: tuple[str, ...]
    deployed: str
    collapses: dict[int, bool]
    computed: tuple[tuple[str, str], ...]
    hours: tuple[float, ...]


def evaluate_cells(plan: Plan, results: Path, choice: ProtocolChoice = "recipe") -> tuple[CellResult, ...]:
    """Return every cell of the plan, in its order, from the runs stored under ``results``.

    ``choice`` is the protocol: the recipe's, one with a head or an epoch replaced, or the method's deployed head at its
    last or best epoch. A reading that does not differ from the recipe's own under that protocol has no cell. UsageError
    names a damaged file, or a protocol that names no recorded head.
    """
    results = results / plan.recipe.name
    measured = []
    for cell in tracked(plan.cells, f"reading runs of {plan.recipe.name}", len(plan.cells)):
        runs = _read(cell, results)
        head, epoch = cell.protocol.head, cell.protocol.epoch
        if isinstance(choice, HeadAndEpoch):
            head, epoch = choice.head or head, choice.epoch or epoch
        elif choice != "recipe":
            deployed_head = Head(DEPLOYED)
            head, epoch = deployed_head.of_average() if head.averaged else deployed_head, choice
        rate = choice == "recipe" and cell.protocol.statistic == "collapse-rate"
        measured.append(_rate(plan, cell, runs) if rate else _measure(plan, cell, runs, head, epoch))
    keep(results)
    return _corrected(_paired(plan, measured if choice == "recipe" else _different(measured)))


def _different(measured: Sequence[CellResult]) -> list[CellResult]:
    """Return the cells without those of readings that take what the recipe's own reading of the same runs takes."""
    own = [(each.cell.runs, each.head, each.epoch) for each in measured if each.cell.reading == DEFAULT_READING]
    return [
        each
        for each in measured
        if each.cell.reading == DEFAULT_READING or (each.cell.runs, each.head, each.epoch) not in own
    ]


def _corrected(measured: Sequence[CellResult]) -> tuple[CellResult, ...]:
    """Return the cells with p-values corrected by Holm's method: over all with the paper, and over all paired ones.

    Cells and pairs of fewer runs than the recipe has are no tests yet: they have no corrected p-value and correct no
    other.
    """
    to_paper = holm(
        [each.comparison.p_value if each.comparison and each.summary.n >= each.wanted else None for each in measured]
    )
    to_reference = holm(
        [each.paired.p_value if each.paired and each.paired.summary.n >= each.wanted else None for each in measured]
    )
    return tuple(
        replace(
            result,
            comparison=result.comparison and replace(result.comparison, holm_p_value=with_paper),
            paired=result.paired and replace(result.paired, holm_p_value=in_pairs),
        )
        for result, with_paper, in_pairs in zip(measured, to_paper, to_reference, strict=True)
    )


def _paired(plan: Plan, measured: Sequence[CellResult]) -> tuple[CellResult, ...]:
    """Return the cells with their differences to the reference method, or to the same runs where that is "default".

    That is its cell on the same data set and network, with the same values of the settings that both have, under the
    protocol's own reading. Differences are in the table's metric.
    """
    reference = plan.recipe.table.reference
    return tuple(
        _with_difference(result, [other for other in measured if other.cell.method == method], table_metric(plan))
        for result in measured
        for method in (result.cell.method if reference == DEFAULT_READING else reference,)
    )


def _with_difference(result: CellResult, references: Sequence[CellResult], metric: Metric) -> CellResult:
    """Return the cell with its difference to the one reference cell that it is compared with, if there is one."""
    mine = result.cell
    fitting = [
        other
        for other in references
        if (other.cell.dataset, other.cell.network) == (mine.dataset, mine.network)
        and all(dict(mine.settings).get(axis, value) == value for axis, value in other.cell.settings)
        and other.cell.reading == DEFAULT_READING
    ]
    if len(fitting) != 1 or fitting[0] is result:
        return result
    return replace(result, paired=result.minus(fitting[0], metric))


def evaluate_heads(plan: Plan, results: Path) -> tuple[CellResult, ...]:
    """Return every cell with a finished run, under every recorded head at the last and at the best epoch, in that
    order.

    Of cells that read the same runs only the first comes.
    """
    measured, read = [], set[tuple[str, ...]]()
    for cell in plan.cells:
        ids = tuple(run.id for run in cell.runs)
        if ids in read:
            continue
        read.add(ids)
        runs = _read(cell, results / plan.recipe.name)
        measured += [_measure(plan, cell, runs, Head(head), epoch) for head in runs.heads for epoch in ("last", "best")]
    return tuple(measured)


def metric_of(plan: Plan, cell: Cell) -> Metric:
    """Return the metric that the paper prints for the cell; accuracy where it prints nothing."""
    return cell.reported.metric if cell.reported else table_metric(plan)


def table_metric(plan: Plan) -> Metric:
    """Return the metric that the paper prints in the table, but for cells with one of their own."""
    return plan.recipe.reported.metric if plan.recipe.reported else "accuracy"


def _read(cell: Cell, folder: Path) -> _Runs:
    folders = [RunFolder(folder / run.config.folder) for run in cell.runs]
    found = [_done(folder) for folder in folders]
    done = [each for each in found if isinstance(each, tuple)]
    finished = [(record, shown) for record, shown in done if record.status is State.finished]
    return _Runs(
        states=tuple(each[0].status if isinstance(each, tuple) else each for each in found),
        seeds=tuple(record.config.seed for record, _ in finished),
        tables=tuple(shown.test for _, shown in finished),
        selections=tuple(shown.validation if record.config.data.validation else None for record, shown in finished),
        heads=finished[0][0].heads if finished else (),
        deployed=finished[0][0].deployed if finished else DEPLOYED,
        collapses={record.config.seed: record.cause is Cause.collapsed for record, _ in done},
        computed=tuple((record.id, record.compute_summary) for record, _ in finished),
        hours=tuple(record.hours for record, _ in finished),
    )


def _done(folder: RunFolder) -> tuple[LearnedRecord, Curves] | State:
    """Return record and curves of a run that is done and whole, the state of any other."""
    try:
        record = folder.learned
        return (record, curves(folder)) if record else folder.state
    except UsageError:
        return State.damaged


def _rate(plan: Plan, cell: Cell, runs: _Runs) -> CellResult:
    """Return how many of the runs that ended have collapsed; that cannot be compared with a printed accuracy."""
    collapses = runs.collapses
    return CellResult(
        cell=cell,
        head=cell.protocol.head.resolve_deployed(runs.deployed),
        epoch=cell.protocol.epoch,
        metric="collapse rate",
        seeds=tuple(collapses),
        values=tuple(100.0 * collapsed for collapsed in collapses.values()),
        states=runs.states,
        summary=proportion(sum(collapses.values()), len(collapses)),
        comparison=None,
        verdict=_verdict(cell, len(collapses), len(plan.recipe.seeds), False, None, 0.0),
        wanted=len(plan.recipe.seeds),
        computed=runs.computed,
        hours=runs.hours,
    )


def _measure(plan: Plan, cell: Cell, runs: _Runs, head: Head, epoch: str) -> CellResult:
    metric = metric_of(plan, cell)
    head = head.resolve_deployed(runs.deployed)
    try:
        pairs = list(zip(runs.tables, runs.selections, strict=True))
        accuracies = [evaluate(table, head, epoch, selection) for table, selection in pairs]
        curves = [trajectory(table, head, selection) for table, selection in pairs]
    except UsageError as error:
        raise UsageError(f"recipe {plan.recipe.name}: protocol of {cell.method}: {error}") from None
    values = tuple(100 - value if metric == "error" else value for value in accuracies)
    as_reported = (cell.protocol.head.resolve_deployed(runs.deployed), cell.protocol.epoch) == (head, epoch)
    comparison = None
    if cell.reported and as_reported and values and not cell.changed:
        comparison = compare_means(values, cell.reported.mean, cell.reported.std, cell.reported.n)
    return CellResult(
        cell=cell,
        head=head,
        epoch=epoch,
        metric=metric,
        seeds=runs.seeds,
        values=values,
        states=runs.states,
        summary=summarise(values, percentages=True),
        comparison=comparison,
        verdict=_verdict(cell, len(values), len(plan.recipe.seeds), as_reported, comparison, plan.recipe.margin),
        wanted=len(plan.recipe.seeds),
        curves=tuple(tuple((100 - curve if metric == "error" else curve).tolist()) for curve in curves),
        computed=runs.computed,
        hours=runs.hours,
    )


def _verdict(
    cell: Cell, finished: int, wanted: int, as_reported: bool, comparison: Comparison | None, margin: float
) -> Verdict:
    """Return the first verdict that applies; reasons not to compare come before the comparison's outcome."""
    if cell.unavailable:
        return "unavailable"
    if cell.changed:
        return "changed settings"
    if finished < wanted:
        return "incomplete"
    if cell.reported is None:
        return "no reported number"
    if not as_reported:
        return "other protocol"
    if comparison is None or finished < 2:
        return "single run"
    if comparison.p_value is not None and comparison.p_value < SIGNIFICANCE:
        return "higher" if comparison.difference > 0 else "lower"
    return "reproduced" if abs(comparison.difference) <= margin + ROUNDING else "inconclusive"

"""A simulated recipe: which of the paper's claims hold under which variant, and the curves behind them."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from okdbench.errors import UsageError
from okdbench.plan import SimulationPlan
from okdbench.report.appendix import commands, environment_listing
from okdbench.report.charts import Chart, Plot, Series, as_numbers
from okdbench.report.formats import Content
from okdbench.report.legend import MARKS, citation
from okdbench.report.model import Appendix, Document, Listing, unique
from okdbench.report.numbers import DASH, three_digits
from okdbench.runs.folder import RunFolder
from okdbench.studies.monte_carlo import LEAD, METHODS, NEAR, SETTLED
from okdbench.studies.simulation import SimulationRecord

SHOWN_EPOCHS = (1, 5, 10, 20, 40, 60)
"""The epochs in the table of curves, counted from 1, besides the last one."""
REFERENCE = "pcl"
"""The method with which the others are compared in the figure."""
TITLE_CHARACTERS = 36
"""Characters that fit above a panel."""


@dataclass(frozen=True)
class SimulationReport:
    """A plan and the record of each of its variants, None if it is not simulated yet; a `kinds.AnyReport`."""

    plan: SimulationPlan
    records: tuple[SimulationRecord | None, ...]

    @classmethod
    def of(cls, plan: SimulationPlan, results: Path) -> Self:
        """Read the records of the plan's variants under ``results``; a damaged one counts as not simulated."""
        folder = results / plan.recipe.name
        folders = (RunFolder(folder / run.config.folder) for run in plan.runs)
        return cls(plan, tuple(each.record_of(SimulationRecord) if each.state.done else None for each in folders))

    def document(self) -> Document:
        """Return the table of claims, and the curves in numbers."""
        recipe = self.plan.recipe
        return Document(
            title=recipe.title,
            source=citation(recipe.source),
            caption=recipe.title,
            tables=(_claims(self),),
            details=(_curves(self),),
            legend=tuple(_legend(self)),
            name=self.plan.recipe.name,
        )

    def paper(self) -> Document:
        """Raise UsageError: the tables say which claims hold, and show no numbers of networks."""
        raise UsageError(f"--style paper: {self.plan.recipe.name} trains no networks and has no table of numbers")

    def explanation(self, cell: str) -> Content:
        """Raise UsageError: claims are found by the rules that the report states."""
        raise UsageError(f"--explain: {self.plan.recipe.name} trains no networks; the rules stand below its table")

    def appendix(self) -> Appendix:
        """Return all figures, the environment of its runs, and commands; no number is printed to be audited."""
        records = [record for record in self.records if record]
        return Appendix(
            tuple(self.charts().values()),
            environment=environment_listing(records),
            commands=commands(self.plan, "recipe"),
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary for each variant and claim."""
        return [
            {
                "recipe": self.plan.recipe.name,
                "variant": name,
                "claim": claim.name,
                "statement": self.plan.recipe.claims.get(claim.name, ""),
                "holds": claim.holds,
                "finding": claim.finding,
                "trials": record.config.settings.trials,
                "changed": list(changed),
                "runs": [record.id],
            }
            for name, changed, record in _simulated(self)
            for claim in record.claims
        ]

    def facts(self) -> dict[str, Any]:
        """Recipe, title, source, claims, and ``variants`` with settings, the outcome of every claim, and curves."""
        recipe = self.plan.recipe
        variants = [
            {
                "variant": name,
                "changed": list(changed),
                "run": record.id,
                **record.model_dump(mode="json", include={"claims", "curves"}),
                "settings": record.config.settings.model_dump(mode="json"),
            }
            for name, changed, record in _simulated(self)
        ]
        return {
            "recipe": recipe.name,
            "title": recipe.title,
            "source": citation(recipe.source),
            "claims": dict(recipe.claims),
            "variants": variants,
        }

    def chart(self) -> Chart | None:
        """Return a column for each variant: the mean gap of every method, and below it the differences between them."""
        return _chart(self)

    def charts(self) -> dict[str, Chart]:
        """Return the figure as ``figure``, if there is one yet."""
        return {"figure": found} if (found := self.chart()) else {}

    def checks(self) -> list[tuple[bool, str]]:
        """Empty: what a simulation's source prints are claims, not numbers."""
        return []


def _simulated(report: SimulationReport) -> Iterator[tuple[str, tuple[str, ...], SimulationRecord]]:
    """Name, changed settings and record of every variant that has been simulated."""
    for cell, record in zip(report.plan.cells, report.records, strict=True):
        if record:
            yield cell.name, cell.changed, record


def _claims(report: SimulationReport) -> Listing:
    """Return a row for each variant, a numbered column for each claim, and when the methods converge."""
    names = tuple(report.plan.recipe.claims)
    rows = []
    for cell, record in zip(report.plan.cells, report.records, strict=True):
        mark = MARKS["changed settings"] if cell.changed else ""
        if record is None:
            rows.append((cell.name + mark, *[DASH] * (len(names) + 2)))
            continue
        holds = {claim.name: claim.holds for claim in record.claims}
        converged = ", ".join(_epoch(curve.convergence_epoch) for curve in record.curves.values())
        verdicts = ["yes" if holds[name] else "no" for name in names]
        rows.append((cell.name + mark, *verdicts, f"{verdicts.count('yes')}/{len(names)}", converged))
    numbers = (f"({number})" for number in range(1, len(names) + 1))
    return Listing("Which statements hold", ("Variant", *numbers, "hold", "converged"), tuple(rows), 0)


def _curves(report: SimulationReport) -> Listing:
    """Return the mean gap of every method at a few epochs."""
    known = [record for record in report.records if record]
    length = min((record.config.epochs for record in known), default=SHOWN_EPOCHS[-1])
    epochs = [epoch for epoch in SHOWN_EPOCHS if epoch < length]
    rows = [
        (name, method.upper(), *(three_digits(curve.mean[epoch - 1]) for epoch in (*epochs, len(curve.mean))))
        for name, _, record in _simulated(report)
        for method, curve in record.curves.items()
    ]
    same = len({record.config.epochs for record in known}) == 1
    headings = ("Variant", "Method", *map(str, epochs), str(length) if same else "last")
    return Listing("Mean gap after an epoch", headings, tuple(rows), len(headings) - 2)


def _legend(report: SimulationReport) -> Iterator[str]:
    """The claims in words, the rules behind yes and no, and what was simulated."""
    statements = report.plan.recipe.claims.values()
    yield from (f"({number}) {statement}." for number, statement in enumerate(statements, start=1))
    known = [record for record in report.records if record]
    yield (
        f"converged: the epoch of {', '.join(map(str.upper, METHODS))} from which on the mean gap stays within "
        f"{SETTLED:.0%} of its start from where it ends ({DASH} not within the simulated epochs)."
    )
    yield (
        f"near: at most {NEAR} epochs away; earlier: at least {NEAR} epochs; better, faster, smallest: lower by more "
        f"than two standard errors of the paired difference and more than {LEAD:.1%} of the gap."
    )
    yield "Gap: distance of teachers or students to the ground truth, mean over peers and trials; epochs count from 1."
    if known:
        yield _trials(known)
    for change in unique(", ".join(cell.changed) for cell in report.plan.cells if cell.changed):
        yield f"{MARKS['changed settings']} changed settings, so not the recipe's own variant: {change}."
    if len(known) < len(report.records):
        yield f"{DASH} in a whole row: not simulated yet."


def _trials(records: Sequence[SimulationRecord]) -> str:
    """Return how many trials were simulated, and how far off the curves may be."""
    counts = " or ".join(f"{trials:,}" for trials in unique(record.config.settings.trials for record in records))
    seeds = ", ".join(str(seed) for seed in unique(record.config.settings.seed for record in records))
    error = max(max(curve.standard_error) for record in records for curve in record.curves.values())
    return f"{counts} trials (seed {seeds}); the standard error of a mean gap is at most {three_digits(error)}."


def _epoch(value: int | None) -> str:
    return DASH if value is None else str(value)


def _chart(report: SimulationReport) -> Chart | None:
    figure, cells = report.plan.recipe.figure, report.plan.cells
    records = {cell.name: record for cell, record in zip(cells, report.records, strict=True) if record}
    shown = {name: records[name] for name in (figure.variants if figure else ()) if name in records}
    if not shown:
        return None
    gaps = tuple(
        Plot(_reading(name, record), "Epoch", "Mean gap", tuple(_gaps(record)), dense=True)
        for name, record in shown.items()
    )
    apart = tuple(
        Plot("", "Epoch", f"Difference to {REFERENCE.upper()} (%)", tuple(_differences(record)), dense=True)
        for record in shown.values()
    )
    trials = " or ".join(f"{count:,}" for count in unique(record.config.settings.trials for record in shown.values()))
    changes = unique(", ".join(cell.changed) for cell in cells if cell.name in shown and cell.changed)
    note = (
        f"Mean gap: to the ground truth, of {trials} trials; bands: the middle half of the trials. "
        f"Difference: gap minus {REFERENCE.upper()}'s in the same trial, in percent of {REFERENCE.upper()}'s mean gap; "
        "bands: two standard errors to either side."
    )
    return Chart(report.plan.recipe.title, (gaps, apart), " ".join([note, *(f"Changed: {c}." for c in changes)]))


def _reading(name: str, record: SimulationRecord) -> str:
    """Return a variant's name over the settings that make it."""
    settings = record.config.settings.model_dump(exclude_defaults=True)
    listed = ", ".join(f"{key}={value}" for key, value in settings.items()) or "all settings at their defaults"
    return f"{name}\n{textwrap.fill(listed, TITLE_CHARACTERS)}"


def _gaps(record: SimulationRecord) -> Iterator[Series]:
    for method in METHODS:
        curve = record.curves[method]
        epochs = as_numbers(range(1, len(curve.mean) + 1))
        yield Series(method.upper(), epochs, curve.mean, curve.quantiles["0.25"], curve.quantiles["0.75"])


def _differences(record: SimulationRecord) -> Iterator[Series]:
    """Every method against the reference; the reference itself is the line at 0."""
    scale = 100 / np.array(record.curves[REFERENCE].mean)
    epochs = as_numbers(range(1, len(scale) + 1))
    for method in METHODS:
        if method == REFERENCE:
            yield Series(method.upper(), epochs, (0.0,) * len(epochs))
            continue
        difference = record.curves[method].differences[REFERENCE]
        mean, error = scale * np.array(difference.mean), 2 * scale * np.array(difference.standard_error)
        yield Series(method.upper(), epochs, as_numbers(mean), as_numbers(mean - error), as_numbers(mean + error))

"""A simulated recipe: which of the paper's claims hold under which reading, and the curves behind them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from okdbench.plan import SimulationPlan
from okdbench.report.model import Document, Listing, SimulationReport, unique
from okdbench.report.words import DASH, MARKS, heading
from okdbench.runs.folder import RunFolder
from okdbench.studies.monte_carlo import LEAD, METHODS, NEAR, SETTLED
from okdbench.studies.simulation import SimulationRecord

EPOCHS = (0, 5, 10, 20, 40, 60)
"""Where the table of curves looks at them, besides the last epoch."""


def build(plan: SimulationPlan, results: Path) -> SimulationReport:
    """The records of the plan's readings under ``results``; UsageError names a damaged file."""
    folder = results / plan.recipe.name
    folders = [RunFolder(folder / run.config.folder) for cell in plan.cells for run in cell.runs]
    return SimulationReport(plan, tuple(each.record_of(SimulationRecord) for each in folders))


def compose(report: SimulationReport) -> Document:
    """The table of claims, and the curves in numbers."""
    title, source = heading(report)
    return Document(title, source, title, (_claims(report),), (_curves(report),), tuple(_legend(report)))


def rows(report: SimulationReport) -> list[dict[str, Any]]:
    """One dictionary for each reading and claim."""
    return [
        {
            "recipe": report.plan.recipe.name,
            "reading": name,
            "claim": claim.name,
            "statement": report.plan.recipe.claims.get(claim.name, ""),
            "holds": claim.holds,
            "finding": claim.finding,
            "trials": record.config.reading.trials,
            "changed": list(changed),
            "runs": [record.id],
        }
        for name, changed, record in _simulated(report)
        for claim in record.claims
    ]


def facts(report: SimulationReport) -> dict[str, Any]:
    """Every reading with its settings, claims and curves."""
    title, source = heading(report)
    readings = [
        {
            "reading": name,
            "changed": list(changed),
            "run": record.id,
            **record.model_dump(mode="json", include={"claims", "curves"}),
            "settings": record.config.reading.model_dump(mode="json"),
        }
        for name, changed, record in _simulated(report)
    ]
    statements = dict(report.plan.recipe.claims)
    return {
        "recipe": report.plan.recipe.name,
        "title": title,
        "source": source,
        "claims": statements,
        "readings": readings,
    }


def _simulated(report: SimulationReport) -> Iterator[tuple[str, tuple[str, ...], SimulationRecord]]:
    """Name, changed settings and record of every reading that has been simulated."""
    for cell, record in zip(report.plan.cells, report.records, strict=True):
        if record:
            yield cell.name, cell.changed, record


def _claims(report: SimulationReport) -> Listing:
    """A row for each reading, a numbered column for each claim, and when the methods converge."""
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
    return Listing("Which statements hold", ("Reading", *numbers, "hold", "converged"), tuple(rows), 0)


def _curves(report: SimulationReport) -> Listing:
    """The mean gap of every method at a few epochs."""
    known = [record for record in report.records if record]
    length = min((record.config.epochs for record in known), default=EPOCHS[-1])
    epochs = [epoch for epoch in EPOCHS if epoch < length - 1]
    rows = [
        (name, method.upper(), *(_digits(curve.mean[epoch]) for epoch in (*epochs, -1)))
        for name, _, record in _simulated(report)
        for method, curve in record.curves.items()
    ]
    headings = ("Reading", "Method", *map(str, epochs), str(length - 1) if known else "last")
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
    yield "Gap: distance of teachers or students to the ground truth, mean over peers and trials; epochs count from 0."
    if known:
        yield _trials(known)
    for change in unique(", ".join(cell.changed) for cell in report.plan.cells if cell.changed):
        yield f"{MARKS['changed settings']} changed settings, so not the recipe's own reading: {change}."
    if len(known) < len(report.records):
        yield f"{DASH} in a whole row: not simulated yet."


def _trials(records: Sequence[SimulationRecord]) -> str:
    """How often was simulated, and how far off the curves may be."""
    counts = " or ".join(f"{trials:,}" for trials in unique(record.config.reading.trials for record in records))
    seeds = ", ".join(str(seed) for seed in unique(record.config.reading.seed for record in records))
    error = max(max(curve.standard_error) for record in records for curve in record.curves.values())
    return f"{counts} trials (seed {seeds}); the standard error of a mean gap is at most {_digits(error)}."


def _epoch(value: int | None) -> str:
    return DASH if value is None else str(value)


def _digits(value: float) -> str:
    """Three significant digits, never as a power of ten."""
    return f"{float(f'{value:.3g}'):.{max(0, 2 - _magnitude(value))}f}"


def _magnitude(value: float) -> int:
    """The exponent of the leading digit: 0 for 1.2, -2 for 0.03."""
    return int(f"{value:e}".partition("e")[2])

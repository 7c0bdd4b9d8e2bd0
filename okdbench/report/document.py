"""Every report, of a table or of a simulation, as one document that the printers only have to mark up."""

from pathlib import Path
from typing import overload

from okdbench.plan import AnyPlan, Plan, SimulationPlan
from okdbench.report import grid, simulation
from okdbench.report.grid import cell_by_cell, head_by_head, lay_out
from okdbench.report.model import AnyReport, Choice, Document, Report, SimulationReport
from okdbench.report.words import heading, legend


@overload
def build(plan: Plan, results: Path, choice: Choice = "recipe") -> Report: ...
@overload
def build(plan: SimulationPlan, results: Path, choice: Choice = "recipe") -> SimulationReport: ...
def build(plan: AnyPlan, results: Path, choice: Choice = "recipe") -> AnyReport:
    """What the runs under ``results`` say about the plan; UsageError names a damaged file.

    ``choice`` is the protocol of a table; a simulation has none.
    """
    if isinstance(plan, SimulationPlan):
        return simulation.build(plan, results)
    return grid.build(plan, results, choice)


def compose(report: AnyReport) -> Document:
    """The report in the order in which it is read."""
    if isinstance(report, SimulationReport):
        return simulation.compose(report)
    title, source = heading(report)
    details = cell_by_cell(report)
    every_head = report.choice == "all"
    return Document(
        title=title,
        source=source,
        caption=report.plan.recipe.table.caption or title,
        tables=(head_by_head(report),) if every_head else (lay_out(report),),
        details=(details,) if details.rows and not every_head else (),
        legend=legend(report),
    )

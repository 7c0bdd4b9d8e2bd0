"""A measured recipe laid out as the paper's own table."""

from pathlib import Path
from typing import Any

from okdbench.plan import Cell, Plan
from okdbench.report import words
from okdbench.report.model import Choice, Entry, Grid, Listing, Panel, Report, unique
from okdbench.results.cells import measure, measure_heads


def build(plan: Plan, results: Path, choice: Choice) -> Report:
    """Measure the plan's cells from the runs under ``results``; UsageError names a damaged file."""
    cells = measure_heads(plan, results) if choice == "all" else measure(plan, results, choice)
    return Report(plan, choice, cells)


def lay_out(report: Report) -> Grid:
    """The paper's rows, columns and panels, in the order of the plan, with only what the plan selects."""
    table = report.plan.recipe.table
    found: dict[tuple[Any, Any, Any], Entry] = {}
    for result in report.cells:
        panel = value_on(result.cell, table.panels) if table.panels else ""
        place = panel, value_on(result.cell, table.rows), value_on(result.cell, table.columns)
        found[place] = words.entry(report, result)
    columns = unique(column for _, _, column in found)
    panels = []
    for panel in unique(panel for panel, _, _ in found):
        rows = unique(row for other, row, _ in found if other == panel)
        cells = ((label(report, row), tuple(found.get((panel, row, column)) for column in columns)) for row in rows)
        panels.append(Panel(report.name(panel), tuple(cells)))
    return Grid(report.name(table.rows), tuple(label(report, c) for c in columns), tuple(panels), report.paired)


def cell_by_cell(report: Report) -> Listing:
    """Verdict, interval, difference and test of every cell with a finished run; no rows where nothing is known."""
    axes = _axes(report)
    measured = [result for result in report.cells if result.values]
    columns = list(zip(*(words.statistics(result) for result in measured), strict=True))
    kept = [i for i, column in enumerate(columns) if set(column) != {words.DASH}]
    if kept in ([], [0]):
        return Listing("Cell by cell", (), (), 0)
    rows = tuple(
        (
            *(label(report, value_on(result.cell, axis)) for axis in axes),
            *((result.verdict,) if report.paired else ()),
            *(columns[i][row] for i in kept),
        )
        for row, result in enumerate(measured)
    )
    verdict = ("verdict",) if report.paired else ()
    headings = words.statistics_headings(report)
    names = (*map(report.name, axes), *verdict, *(headings[i] for i in kept))
    return Listing("Cell by cell", names, rows, len(kept))


def head_by_head(report: Report) -> Listing:
    """Every head at the last and at the best epoch: the long table of ``--protocol all``."""
    axes = _axes(report)
    rows: dict[tuple[str, ...], list[str]] = {}
    for result in report.cells:
        key = (*(label(report, value_on(result.cell, axis)) for axis in axes), result.head)
        rows.setdefault(key, [words.runs(result)]).append(words.spread(result))
    headings = (*(report.name(axis) for axis in axes), "Head", "n", "last epoch", "best epoch")
    return Listing("Every head", headings, tuple((*key, *values) for key, values in rows.items()), 3)


def label(report: Report, value: Any) -> str:
    """A value of the grid as the paper prints it; a dash where the cell's method lacks the axis."""
    return words.DASH if value is None else report.name(value)


def _axes(report: Report) -> tuple[str, ...]:
    """The axes that tell the cells of this report apart: the layout's, and any other that has several values."""
    table = report.plan.recipe.table
    layout = [axis for axis in (table.panels, table.rows, table.columns) if axis]
    cells = [result.cell for result in report.cells]
    every = unique(axis for cell in cells for axis in ("dataset", "network", "method", *dict(cell.settings)))
    return tuple(layout + [a for a in every if a not in layout and len(unique(value_on(c, a) for c in cells)) > 1])


def value_on(cell: Cell, axis: str) -> Any:
    """Where the cell lies on an axis; None on a setting that its method does not have."""
    named = {"dataset": cell.dataset, "network": cell.network, "method": cell.method}
    return {**named, **dict(cell.settings)}.get(axis)

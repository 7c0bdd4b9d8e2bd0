"""A measured recipe laid out as the paper's own table."""

from typing import Any

from okdbench.report import numbers
from okdbench.report.legend import ELSEWHERE, LOW_TRUST, MARKS, SELECTED
from okdbench.report.model import Entry, Listing, MeasuredTable, Panel, PrintedTable, unique
from okdbench.report.numbers import DASH
from okdbench.results.cells import CellResult


def lay_out(report: MeasuredTable) -> PrintedTable:
    """Return the paper's rows, columns and panels, in the order of the plan, with only what the plan selects."""
    table = report.plan.recipe.table
    found: dict[tuple[Any, Any, Any], Entry] = {}
    for result in report.cells:
        panel = report.value(result.cell, table.panels) if table.panels else ""
        place = panel, report.value(result.cell, table.rows), report.value(result.cell, table.columns)
        found[place] = entry(report, result)
    columns = unique(column for _, _, column in found)
    panels = []
    for panel in unique(panel for panel, _, _ in found):
        rows = unique(row for other, row, _ in found if other == panel)
        cells = ((report.label(row), tuple(found.get((panel, row, column)) for column in columns)) for row in rows)
        panels.append(Panel(report.name(panel), tuple(cells)))
    return PrintedTable(report.name(table.rows), tuple(report.label(c) for c in columns), tuple(panels), report.paired)


def cell_by_cell(report: MeasuredTable) -> Listing:
    """Verdict, interval, difference and test of every cell with a finished run; no rows where nothing is known."""
    axes = _axes(report)
    measured = [result for result in report.cells if result.values]
    columns = list(zip(*(_statistics(result) for result in measured), strict=True))
    kept = [i for i, column in enumerate(columns) if set(column) != {DASH}]
    if kept in ([], [0]):
        return Listing("Cell by cell", (), (), 0)
    rows = tuple(
        (
            *(report.label(report.value(result.cell, axis)) for axis in axes),
            *((result.verdict,) if report.paired else ()),
            *(columns[i][row] for i in kept),
        )
        for row, result in enumerate(measured)
    )
    verdict = ("verdict",) if report.paired else ()
    headings = _headings(report)
    names = (*map(report.name, axes), *verdict, *(headings[i] for i in kept))
    return Listing("Cell by cell", names, rows, len(kept))


def head_by_head(report: MeasuredTable) -> Listing:
    """Return every head at the last and at the best epoch: the long table of ``--protocol all``."""
    axes = _axes(report)
    rows: dict[tuple[str, ...], list[str]] = {}
    for result in report.cells:
        key = (*(report.label(report.value(result.cell, axis)) for axis in axes), result.head)
        rows.setdefault(key, [numbers.runs(result)]).append(numbers.spread(result))
    headings = (*(report.name(axis) for axis in axes), "Head", "n", "last epoch", "best epoch")
    return Listing("Every head", headings, tuple((*key, *values) for key, values in rows.items()), 3)


def entry(report: MeasuredTable, result: CellResult) -> Entry:
    """Return a cell of the table; its note says what differs from the rest: metric, unfinished runs, diverged runs."""
    partly = result.values and result.summary.n < result.planned
    diverged = f"{result.diverged} diverged" if result.diverged and not result.is_rate else ""
    share = f"{result.collapsed} of {len(result.values)}" if result.is_rate and result.values else ""
    reported, printed = result.cell.reported, report.plan.recipe.reported
    odd = result.metric if printed and result.metric != printed.metric else ""
    theirs = ""
    if report.paired:
        theirs = numbers.number(reported.mean, reported.std) if reported else DASH
        theirs += LOW_TRUST if reported and reported.trust == "low" else ""
    return Entry(
        ours=numbers.spread(result) + (_signs(result) if result.values else ""),
        note=", ".join(filter(None, (odd, share, numbers.runs(result) if partly else "", diverged))),
        mark=MARKS.get(result.verdict, "") if result.values else "",
        theirs=theirs,
        verdict=result.verdict,
    )


def _signs(result: CellResult) -> str:
    """Return the marks for what a reader of the number must know."""
    other = result.cell.trained_network != result.cell.network
    return (SELECTED if result.chosen_on_test else "") + (ELSEWHERE if other else "")


def _headings(report: MeasuredTable) -> tuple[str, ...]:
    """Return the headings of `_statistics`."""
    reference = report.plan.recipe.table.reference
    against = f"vs {report.name(reference)}" if reference else ""
    return "n", "95% interval", "diff.", "p", "test", against, "95% interval", "paired p"


def _statistics(result: CellResult) -> tuple[str, ...]:
    """Return runs, interval, difference to the paper and its test, and paired difference to the reference."""
    paper = reference = (DASH, DASH, DASH)
    if compared := result.comparison:
        paper = (
            numbers.difference(compared.difference),
            numbers.p_value(compared.p_value),
            compared.test or DASH,
        )
    if (paired := result.paired) and paired.summary.mean is not None:
        reference = (
            numbers.difference(paired.summary.mean),
            numbers.between(paired.summary, "{:+.2f} to {:+.2f}"),
            numbers.p_value(paired.p_value),
        )
    return numbers.runs(result), numbers.between(result.summary, "{:.2f}–{:.2f}"), *paper, *reference


def _axes(report: MeasuredTable) -> tuple[str, ...]:
    """Return the axes that tell the cells of this report apart: the layout's, and any other that has several values."""
    table = report.plan.recipe.table
    layout = [axis for axis in (table.panels, table.rows, table.columns) if axis]
    cells = [result.cell for result in report.cells]
    every = unique(axis for cell in cells for axis in ("dataset", "network", "method", *dict(cell.settings)))
    return tuple(layout + [a for a in every if a not in layout and len(unique(report.value(c, a) for c in cells)) > 1])

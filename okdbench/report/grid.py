"""A measured recipe laid out as the paper's own table."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from okdbench import methods
from okdbench.plan.table import Reported
from okdbench.report import numbers
from okdbench.report.charts import Plot, Series, as_numbers
from okdbench.report.legend import CUT, ELSEWHERE, LOW_TRUST, MARKS, SELECTED
from okdbench.report.model import Entry, Listing, MeasuredTable, Panel, PrintedTable, unique
from okdbench.report.numbers import DASH
from okdbench.results.cells import CellResult
from okdbench.results.protocol import describe_head, describe_protocol
from okdbench.results.ranks import Ranks, rank_methods
from okdbench.results.stats import Comparison, Paired
from okdbench.words import enumerated


def lay_out(report: MeasuredTable) -> PrintedTable:
    """Return the paper's rows, columns and panels, in the order of the plan, with only what the plan selects."""
    table = report.plan.recipe.table
    found: dict[tuple[Any, Any, Any], Entry] = {}
    for result, rank in zip(report.cells, _places(report.cells), strict=True):
        panel = report.value(result.cell, table.panels) if table.panels else ""
        place = panel, report.value(result.cell, table.rows), report.value(result.cell, table.columns)
        found[place] = replace(entry(report, result), place=rank)
    columns = unique(column for _, _, column in found)
    panels = []
    for panel in unique(panel for panel, _, _ in found):
        rows = unique(row for other, row, _ in found if other == panel)
        cells = ((report.label(row), tuple(found.get((panel, row, column)) for column in columns)) for row in rows)
        panels.append(Panel(report.name(panel), tuple(cells)))
    return PrintedTable(report.name(table.rows), tuple(report.label(c) for c in columns), tuple(panels), report.paired)


def _places(results: Sequence[CellResult]) -> list[int]:
    """Return for every cell whether its mean is the best (1) or the second (2) on its data set and network, else 0.

    Each reading has a best, since several of one training are nearly the same number. Only complete cells of two runs
    or more take part, in a group of two or more; a second needs three.
    """
    groups: dict[tuple[str, ...], dict[int, float]] = {}
    for i, result in enumerate(results):
        if result.summary.mean is not None and result.complete and result.summary.n > 1 and not result.is_rate:
            printed = round(result.summary.mean, 2)
            error = printed if result.metric == "error" else round(100 - printed, 2)
            groups.setdefault((result.cell.dataset, result.cell.network, result.cell.reading), {})[i] = error
    places = [0] * len(results)
    for group in groups.values():
        order = sorted(set(group.values()))
        for i, value in group.items():
            if len(group) > 1 and len(order) > 1:
                places[i] = 1 if value == order[0] else 2 if value == order[1] and len(group) > 2 else 0
    return places


def said_places(report: MeasuredTable, table: PrintedTable) -> str:
    """Return what is emphasised in a table; "" where nothing is."""
    places = {entry.place for panel in table.panels for _, entries in panel.rows for entry in entries if entry}
    said = [text for place, text in ((1, "Best in bold"), (2, "second underlined")) if place in places]
    cells = [result.cell for result in report.cells if result.values]
    words = {"dataset": "data set", "network": "network", "reading": "reading"}
    apart = [word for axis, word in words.items() if len({cell.value(axis) for cell in cells}) > 1]
    return f"{', '.join(said)}{f', for each {enumerated(apart)}' if apart else ''}." if said else ""


def cell_by_cell(report: MeasuredTable) -> Listing:
    """Verdict, interval, difference and test of every cell with a finished run; no rows where nothing is known."""
    measured = [result for result in report.cells if result.values]
    verdicts = ("verdict", [result.verdict for result in measured]) if report.paired else None
    headings = ("n", "95% interval", "diff.", "p", "Holm p", "test", "needs n")
    return _listing(report, "Cell by cell", measured, verdicts, headings, [_statistics(result) for result in measured])


def paired_differences(report: MeasuredTable) -> Listing:
    """Difference to the recipe's reference method, interval and tests of every cell that has one; else no rows."""
    reference = report.plan.recipe.table.reference
    measured = [result for result in report.cells if result.paired]
    against = f"vs {report.name(reference)}" if reference else ""
    headings = ("n", against, "95% interval", "paired p", "Holm p", "exact p", "needs n")
    numbers_of_pairs = [_pair(result.paired) for result in measured if result.paired]
    return _listing(report, f"Differences to {report.name(reference)}", measured, None, headings, numbers_of_pairs)


def average_ranks(report: MeasuredTable) -> Listing:
    """Methods by their average rank in each reading, with the tests; by the first one's; no rows where none has any."""
    ranked = rank_methods(report.cells)
    axes = unique(axis for ranks in ranked for cell, _ in ranks.methods for axis in ("method", *dict(cell.settings)))
    columns = [
        {tuple(cell.value(axis) for axis in axes): f"{rank:.2f}" for cell, rank in ranks.methods} for ranks in ranked
    ]
    rows = (
        (*map(report.label, method), *(column.get(method, DASH) for column in columns))
        for method in unique(m for c in columns for m in c)
    )
    several = len({result.cell.reading for result in report.cells if result.values}) > 1
    names = [report.name(ranks.reading) if several else "rank" for ranks in ranked]
    said: dict[str, list[str]] = {}
    for name, ranks in zip(names, ranked, strict=True):
        said.setdefault(_rank_tests(ranks), []).append(name)
    tests = (f"{enumerated(those)}: {text}" if several else text for text, those in said.items())
    note = " ".join(
        (
            "1 is best." if several else "1 is best;",
            *tests,
            "Ranks closer than that do not differ significantly (Nemenyi, 5%).",
        )
    )
    return Listing("Average ranks", (*map(report.name, axes), *names), tuple(rows), len(ranked), note)


def _rank_tests(ranks: Ranks) -> str:
    """Return over what ranks are means, Friedman's test and the critical difference."""
    return (
        f"mean over {ranks.blocks} {ranks.unit}; Friedman's test that all are equal: p "
        f"{numbers.equality(ranks.p_value)}; critical difference {ranks.critical_difference:.2f}."
    )


def head_by_head(report: MeasuredTable) -> Listing:
    """Return every head at the last and at the best epoch: the long table of ``--protocol all``."""
    axes = _axes(report)
    rows: dict[tuple[Any, ...], list[str]] = {}
    for result in report.cells:
        key = (*(report.value(result.cell, axis) for axis in axes), result.head)
        rows.setdefault(key, [numbers.finished_runs(result)]).append(numbers.spread(result))
    headings = (*(report.name(axis) for axis in axes), "Head", "n", "last epoch", "best epoch")
    printed = tuple((*map(report.label, values), head, *texts) for (*values, head), texts in rows.items())
    return Listing("Every head", headings, printed, 3)


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
        note=", ".join(filter(None, (odd, share, numbers.finished_runs(result) if partly else "", diverged))),
        mark=MARKS.get(result.verdict, "") if result.values else "",
        theirs=theirs,
        verdict=result.verdict,
        worse=result.verdict == ("higher" if result.metric == "error" else "lower"),
        details=details(report, result),
        curves=_curves(result),
    )


def details(report: MeasuredTable, result: CellResult) -> tuple[tuple[str, str], ...]:
    """Return all that is known of a cell, by name: its numbers and tests, protocol, settings and runs."""
    cell, compared, paired = result.cell, result.comparison, result.paired
    reported = cell.reported
    reference = report.plan.recipe.table.reference
    found = [
        ("Verdict", f"unavailable: {cell.unavailable}" if cell.unavailable else result.verdict_text),
        ("Measured", f"{numbers.spread(result)} (n = {numbers.finished_runs(result)})" if result.values else ""),
        ("95% interval", numbers.between(result.summary, "{:.2f} to {:.2f}")),
        ("Reported", _reported(reported) if reported else ""),
        ("Difference", _difference(compared) if compared else ""),
        (f"Against {report.name(reference)}", _difference_to_reference(paired) if paired else ""),
        ("By seed", ", ".join(f"{seed}: {value:.2f}" for seed, value in result.by_seed.items())),
        ("Diverged", f"{result.diverged} of {result.planned}" if result.diverged else ""),
        ("Metric", result.metric),
        ("Protocol", describe_protocol(result.head, result.epoch) if cell.runs and not result.is_rate else ""),
        ("Chosen", str(result.chosen or "")),
        ("Trained network", cell.trained_network if cell.trained_network != cell.network else ""),
        ("Settings", method_settings(result)),
        ("Changed", ", ".join(cell.changed)),
        ("Computed on", ", ".join(unique(how for _, how in result.computed if how))),
        ("Runs", " ".join(run.id for run in cell.runs)),
    ]
    return tuple((name, text) for name, text in found if text not in ("", DASH))


def _reported(reported: Reported) -> str:
    """Return the printed number, and where it is from."""
    n = f" (n = {reported.n})" if reported.n else ""
    remarks = filter(None, (reported.provenance, f"trust: {reported.trust}" if reported.trust else "", reported.note))
    return "; ".join((numbers.number(reported.mean, reported.std) + n, *remarks))


def _difference(compared: Comparison) -> str:
    holm = f", Holm p {numbers.p_value(compared.holm_p_value)}" if compared.holm_p_value is not None else ""
    test = f", p {numbers.p_value(compared.p_value)} ({compared.test}){holm}" if compared.test else ""
    return numbers.difference(compared.difference) + test


def _difference_to_reference(paired: Paired) -> str:
    if paired.summary.mean is None:
        return ""
    interval = numbers.between(paired.summary, " [{:+.2f} to {:+.2f}]") if paired.summary.ci95 else ""
    tests = (("paired", paired.p_value), ("Holm", paired.holm_p_value), ("exact", paired.exact_p_value))
    test = "".join(f", {name} p {numbers.p_value(p)}" for name, p in tests if p is not None)
    return numbers.difference(paired.summary.mean) + interval + test


def method_settings(result: CellResult) -> str:
    """Return the method's preset that the settings are, or the settings that differ from the method's own."""
    if not result.cell.runs:
        return ""
    config = result.cell.runs[0].config
    known = methods.get(config.method).Config
    own = known(**config.settings)
    presets = [name for name, changes in known.presets.items() if known(**changes) == own]
    changed = ", ".join(f"{key}={value}" for key, value in config.settings.items())
    return f"preset {presets[0]}" if presets else changed


def _curves(result: CellResult) -> Plot | None:
    """Return the value of each finished run after every epoch; None where there is none."""
    if not result.curves or result.is_rate:
        return None
    epochs = as_numbers(range(1, max(map(len, result.curves)) + 1))
    series = (
        Series(f"seed {seed}", epochs[: len(curve)], curve)
        for seed, curve in zip(result.seeds, result.curves, strict=True)
    )
    return Plot(describe_head(result.head), "Epoch", f"Top-1 {result.metric} (%)", tuple(series), dense=True)


def _signs(result: CellResult) -> str:
    """Return the marks for what a reader of the number must know."""
    other = result.cell.trained_network != result.cell.network
    return (SELECTED if result.chosen_on_test else "") + (ELSEWHERE if other else "")


def _listing(
    report: MeasuredTable,
    title: str,
    measured: Sequence[CellResult],
    words: tuple[str, Sequence[str]] | None,
    headings: Sequence[str],
    statistics: Sequence[Sequence[str]],
) -> Listing:
    """Return cells with their place, a column of words and ``statistics``, of which n comes first, without empty ones.

    No rows where nothing but n is known.
    """
    axes, columns = _axes(report), list(zip(*statistics, strict=True))
    kept = [i for i, column in enumerate(columns) if set(column) != {DASH}]
    if kept in ([], [0]):
        return Listing(title, (), (), 0)
    rows = tuple(
        (
            *(report.label(report.value(result.cell, axis)) for axis in axes),
            *((words[1][row],) if words else ()),
            *(columns[i][row] for i in kept),
        )
        for row, result in enumerate(measured)
    )
    names = (*map(report.name, axes), *((words[0],) if words else ()), *(headings[i] for i in kept))
    return Listing(title, names, rows, len(kept))


def _statistics(result: CellResult) -> tuple[str, ...]:
    """Return runs, interval, difference to the paper and its test, and how many seeds would decide it."""
    paper = (DASH,) * 5
    if compared := result.comparison:
        paper = (
            numbers.difference(compared.difference),
            numbers.p_value(compared.p_value),
            numbers.p_value(compared.holm_p_value),
            compared.test or DASH,
            numbers.seeds_to_decide(compared) if result.verdict == "inconclusive" else DASH,
        )
    interval = numbers.between(result.summary, "{:.2f}–{:.2f}") + (CUT if result.summary.cut else "")
    return numbers.finished_runs(result), interval, *paper


def _pair(paired: Paired) -> tuple[str, ...]:
    """Return pairs, difference to the reference with its interval and tests, and how many seeds would decide it."""
    return (
        str(paired.summary.n),
        DASH if paired.summary.mean is None else numbers.difference(paired.summary.mean),
        numbers.between(paired.summary, "{:+.2f} to {:+.2f}"),
        numbers.p_value(paired.p_value),
        numbers.p_value(paired.holm_p_value),
        numbers.p_value(paired.exact_p_value),
        DASH if paired.decided else numbers.seeds_to_decide(paired),
    )


def _axes(report: MeasuredTable) -> tuple[str, ...]:
    """Return the axes that tell the cells of this report apart, those of the layout first; the rows' if none does."""
    table = report.plan.recipe.table
    layout = [axis for axis in (table.panels, table.rows, table.columns) if axis]
    cells = [result.cell for result in report.cells]
    every = unique(axis for cell in cells for axis in ("dataset", "network", "method", *dict(cell.settings)))
    telling = [a for a in unique(layout + every) if len(unique(report.value(c, a) for c in cells)) > 1]
    return tuple(telling or [table.rows])

"""Aligned columns for the terminal."""

from collections.abc import Iterator
from io import StringIO
from math import ceil
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from okdbench.report.console import UNBOUNDED, make_console
from okdbench.report.formats import Content, Format, Screen
from okdbench.report.model import Document, Entry, Listing, Panel, PrintedTable
from okdbench.results.cells import Verdict

VERDICT_STYLES: dict[Verdict, str] = {
    "reproduced": "green",
    "higher": "magenta",
    "lower": "red",
    "inconclusive": "yellow",
}
_GAP = 2
"""Blank columns between two columns of a table: the padding and the box's own blank."""


def write(content: Content, screen: Screen) -> str:
    """Tables and legends in lines of at most the screen's width; a wider table is split into parts, one below another.

    With colours the text has ANSI codes.
    """
    return "\n".join(_text(document, screen) for document in content.documents())


def _text(document: Document, screen: Screen) -> str:
    written = StringIO()
    console = make_console(written, screen.width, screen.colour)
    console.print(Text(document.title, style="bold"))
    if document.source:
        console.print(Text(document.source, style="dim"))
    for table in (*document.tables, *document.details):
        for part in [_listing(table)] if isinstance(table, Listing) else _grid(table, screen.width or UNBOUNDED):
            console.print()
            console.print(part)
        if isinstance(table, Listing) and table.note:
            console.print(Text(table.note, style="dim"))
    console.print()
    for line in document.legend:
        console.print(Text(line))
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def _grid(grid: PrintedTable, width: int) -> Iterator[Table]:
    """The paper's table, top to bottom."""
    for panel in grid.panels:
        for columns in _parts(grid, panel, width):
            yield _panel(grid, panel, columns)


def _parts(grid: PrintedTable, panel: Panel, width: int) -> list[range]:
    """Columns that fit side by side, in as few and as even parts as possible."""
    labels = max(len(grid.corner), *(len(name) for name, _ in panel.rows))
    needed = [
        max(len(name), *(len(line) for _, entries in panel.rows if (entry := entries[index]) for line in entry.lines))
        for index, name in enumerate(grid.columns)
    ]
    total = len(needed)
    for parts in range(1, total + 1):
        size = ceil(total / parts)
        ranges = [range(start, min(start + size, total)) for start in range(0, total, size)]
        if all(labels + sum(_GAP + needed[i] for i in part) <= width for part in ranges):
            break
    return ranges


def _panel(grid: PrintedTable, panel: Panel, columns: range) -> Table:
    title = f"{panel.title} (continued)" if panel.title and columns.start else panel.title
    table = _table(title, spaced=grid.paired)
    table.add_column(Text(grid.corner))
    for index in columns:
        table.add_column(Text(grid.columns[index]))
    for name, entries in panel.rows:
        table.add_row(Text(name), *(_cell(entries[index]) for index in columns))
    return table


def _listing(listing: Listing) -> Table:
    """Return a plain table, its numbers at the right."""
    table = _table(listing.title, spaced=False)
    first_number = len(listing.headings) - listing.numeric
    for index, name in enumerate(listing.headings):
        # Lines break between words, never within one: a terminal that is too narrow for that may wrap.
        words = " ".join([name, *(row[index] for row in listing.rows)]).split()
        justify: Literal["left", "right"] = "right" if index >= first_number else "left"
        table.add_column(Text(name), justify=justify, overflow="fold", min_width=max(map(len, words)))
    for row in listing.rows:
        table.add_row(*map(Text, row))
    return table


def _table(title: str, spaced: bool) -> Table:
    """Return a table in the house style; ``spaced`` leaves a line between rows, for cells of several lines."""
    return Table(
        title=Text(title) if title else None,
        title_style="bold",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, _GAP - 1, 0, 0),
        leading=1 if spaced else 0,
    )


def _cell(entry: Entry | None) -> Text:
    if entry is None:
        return Text()
    ours, *rest = entry.lines
    cell = Text(ours, style=VERDICT_STYLES.get(entry.verdict, ""))
    for line in rest:
        cell.append(f"\n{line}", style="dim")
    return cell


FORMAT = Format("text", (".txt",), write)

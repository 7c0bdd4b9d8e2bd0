"""Aligned columns for the terminal."""

import re
from collections.abc import Iterator, Sequence
from io import StringIO

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from okdbench.report.columns import column_parts, new_table, plain_tables
from okdbench.report.console import UNBOUNDED, make_console
from okdbench.report.formats import Content, Format, Screen
from okdbench.report.model import Document, Entry, Listing, Panel, PrintedTable
from okdbench.results.cells import Verdict

VERDICT_STYLES: dict[Verdict, str] = {
    "reproduced": "green",
    "higher": "magenta",
    "lower": "magenta",
    "inconclusive": "yellow",
}
WORSE = "red"
_PLACES = ("", "bold", "underline")
"""How the best and the second number look."""
_COMMAND = re.compile(r"(?:^|(?<=: ))okdbench .*$")


def write_text(content: Content, screen: Screen) -> str:
    """Tables and legends in lines of at most the screen's width; a wider table is split into parts, one below another.

    Only commands and references are not broken. With colours the text has ANSI codes.
    """
    return "\n".join(_text(document, screen) for document in content.documents())


def _text(document: Document, screen: Screen) -> str:
    written = StringIO()
    console = make_console(written, screen.width, screen.colour)
    console.print(Text(document.title, style="bold"))
    if document.source:
        console.print(Text(document.source, style="dim"))
    for table in (*document.tables, *document.details):
        for part in _printed(table, screen.width or UNBOUNDED):
            console.print()
            console.print(part)
        if isinstance(table, Listing) and table.note:
            console.print(Text(table.note, style="dim"))
    console.print()
    for line in document.notes(screen.colour):
        _print_line(console, line)
    for paragraph in document.methods:
        console.print(Text("\nMethods", style="bold"))
        console.print(Text(paragraph))
    for entry in document.references:
        console.print()
        console.print(Text("\n".join(entry)), soft_wrap=True)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def _print_line(console: Console, line: str) -> None:
    """Print a line of the legend; a command at its end, if it does not fit, as a line that can be copied."""
    command = _COMMAND.search(line)
    if command is None or len(line) <= console.width:
        console.print(Text(line))
        return
    if command.start():
        console.print(Text(line[: command.start()].rstrip()))
    console.print(Text(command[0]), soft_wrap=True)


def _printed(table: PrintedTable | Listing, width: int) -> Iterator[RenderableType]:
    """Return the tables that show a table of the document, one below another."""
    if isinstance(table, Listing):
        words = len(table.headings) - table.numeric
        numbers = range(words, len(table.headings))
        keys = table.keys or (words if table.numeric else 1)
        yield from plain_tables(table.title, table.headings, table.rows, keys, numbers, width)
        return
    for panel in table.panels:
        widths = [max(len(table.corner), *(len(name) for name, _ in panel.rows)), *_widths(table, panel)]
        for part in column_parts(widths, 1, width) or [[0, i] for i in range(1, len(widths))]:
            yield _panel(table, panel, [i - 1 for i in part[1:]])


def _widths(table: PrintedTable, panel: Panel) -> list[int]:
    """Return the width of every column of numbers."""
    return [
        max(len(name), *(len(line) for _, entries in panel.rows if (entry := entries[index]) for line in entry.lines))
        for index, name in enumerate(table.columns)
    ]


def _panel(grid: PrintedTable, panel: Panel, columns: Sequence[int]) -> Table:
    title = f"{panel.title} (continued)" if panel.title and columns and columns[0] else panel.title
    table = new_table(title, spaced=grid.paired)
    table.add_column(Text(grid.corner))
    for index in columns:
        table.add_column(Text(grid.columns[index]))
    for name, entries in panel.rows:
        table.add_row(Text(name), *(_cell(entries[index]) for index in columns))
    return table


def _cell(entry: Entry | None) -> Text:
    if entry is None:
        return Text()
    ours, *rest = entry.lines
    colour = WORSE if entry.worse else VERDICT_STYLES.get(entry.verdict, "")
    cell = Text()  # without a style, in which blanks beside the number would be underlined too
    cell.append(ours, style=" ".join(filter(None, (_PLACES[entry.place], colour))))
    for line in rest:
        cell.append(f"\n{line}", style="dim")
    return cell


FORMAT = Format("text", (".txt",), write_text)

"""Tables of plain text for a terminal: every cell of every table is shown, however narrow the terminal is."""

from collections.abc import Iterable, Iterator, Sequence
from math import ceil

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

GAP = 2
"""Blank columns between two columns of a table: the padding and the box's own blank."""


def new_table(title: str = "", spaced: bool = False) -> Table:
    """Return a table in the house style; ``spaced`` leaves a line between rows, for cells of several lines."""
    return Table(
        title=Text(title) if title else None,
        title_style="bold",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        leading=1 if spaced else 0,
    )


def column_parts(widths: Sequence[int], keys: int, width: int) -> list[list[int]] | None:
    """Divide columns into parts that fit the width, as few and as even as possible, each with the first ``keys``.

    None where not even one column fits beside the keys.
    """
    first, rest = list(range(keys)), list(range(keys, len(widths)))
    for parts in range(1, max(len(rest), 1) + 1):
        size = max(ceil(len(rest) / parts), 1)
        divided = [first + rest[start : start + size] for start in range(0, max(len(rest), 1), size)]
        if all(sum(widths[i] for i in part) + GAP * (len(part) - 1) <= width for part in divided):
            return divided
    return None


def _widths(whole: Sequence[int], narrow: Sequence[int], width: int) -> list[int]:
    """Return the columns' widths: as narrow as they may be, and the rest of the line to those that take most lines."""
    widths = list(narrow)
    for _ in range(width - sum(narrow) - GAP * (len(narrow) - 1)):
        tallest = max(range(len(widths)), key=lambda i: whole[i] / max(widths[i], 1))
        if widths[tallest] >= whole[tallest]:
            break
        widths[tallest] += 1
    return widths


def plain_tables(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], keys: int, right: Iterable[int], width: int
) -> Iterator[RenderableType]:
    """Lay rows out in one table; in several with the first ``keys`` columns repeated; or, else, record by record.

    Columns in ``right`` hold numbers, which never break; other cells and headings break between words only.
    """
    numbers = set(right)
    columns = list(zip(headings, *rows, strict=True))
    whole = [max(map(len, column)) for column in columns]
    narrow = [
        max(map(len, column[1:] if i in numbers else " ".join(column[1:]).split()), default=0)
        for i, column in enumerate(columns)
    ]
    narrow = [max(n, *map(len, heading.split() or [""])) for n, heading in zip(narrow, headings, strict=True)]
    parts = column_parts(narrow, keys, width)
    if parts is None:
        yield from _records(title, headings, rows)
        return
    for number, part in enumerate(parts):
        table = new_table(f"{title} (continued)" if title and number else title)
        widths = _widths([whole[i] for i in part], [narrow[i] for i in part], width)
        table.show_header = any(headings[i] for i in part)
        for i, each in zip(part, widths, strict=True):
            table.add_column(Text(headings[i]), justify="right" if i in numbers else "left", width=each)
        for row in rows:
            table.add_row(*(Text(row[i]) for i in part))
        yield table


def _records(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Text]:
    """Every row as a block of lines, a heading and a value each."""
    if title:
        yield Text(title, style="bold")
    for row in rows:
        yield Text(
            "\n".join(f"{heading}: {value}" for heading, value in zip(headings, row, strict=True) if value) + "\n"
        )

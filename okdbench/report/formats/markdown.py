"""GitHub-flavoured Markdown."""

import re

from tabulate import tabulate

from okdbench.report.formats import Content, Format, Screen
from okdbench.report.model import Document, Entry, Listing, PrintedTable
from okdbench.report.numbers import DASH

_PLACES = ("{}", "**{}**", "<ins>{}</ins>")
"""How the best and the second number look."""


def write_markdown(content: Content, screen: Screen) -> str:
    """Title, a table for each panel with ``ours<br>theirs`` in its cells, the statistics cell by cell, the legend."""
    return "\n".join(map(_text, content.documents()))


def _text(document: Document) -> str:
    blocks = [f"### {escape_markdown(document.title)}", _line(document.source)]
    for table in (*document.tables, *document.details):
        blocks += _panels(table) if isinstance(table, PrintedTable) else _listing(table)
    blocks.append("\n".join(f"- {_line(line)}" for line in document.notes()))
    blocks += [f"**Methods.** {escape_markdown(paragraph)}" for paragraph in document.methods]
    blocks += ["\n".join(("```bibtex", *entry, "```")) for entry in document.references]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _panels(grid: PrintedTable) -> list[str]:
    """Return the paper's table, panel after panel."""
    blocks = []
    for panel in grid.panels:
        rows = [[escape_markdown(name), *map(_cell, entries)] for name, entries in panel.rows]
        blocks += [f"**{escape_markdown(panel.title)}**" if panel.title else ""]
        blocks.append(_table([grid.corner, *grid.columns], rows, ["left"] * (1 + len(grid.columns))))
    return blocks


def escape_markdown(text: str) -> str:
    """Plain text that no Markdown reader takes for markup, also inside a table."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]~$])", r"\\\1", text)


def _line(text: str) -> str:
    """Plain text that begins a paragraph or a list item, where a sign or number would begin a list or heading."""
    return re.sub(r"^(\d*)([-+#.)])", r"\1\\\2", escape_markdown(text))


def _cell(entry: Entry | None) -> str:
    """Ours over theirs, theirs in italics; the best of ours is bold, the second underlined."""
    if entry is None:
        return ""
    theirs = escape_markdown(entry.theirs)
    if theirs and entry.theirs != DASH:
        theirs = f"*{theirs}*"
    ours = _PLACES[entry.place].format(escape_markdown(entry.ours))
    rest = (f"({escape_markdown(entry.note)})" if entry.note else "", escape_markdown(entry.mark))
    return "<br>".join(filter(None, (" ".join(filter(None, (ours, *rest))), theirs)))


def _listing(listing: Listing) -> list[str]:
    """Return a plain table below its title and note, its numbers at the right."""
    words = len(listing.headings) - listing.numeric
    rows = [[escape_markdown(value) for value in row] for row in listing.rows]
    table = _table(listing.headings, rows, ["left"] * words + ["right"] * listing.numeric)
    return [f"**{escape_markdown(listing.title)}**", _line(listing.note), table]


def _table(headings: "list[str] | tuple[str, ...]", rows: list[list[str]], align: list[str]) -> str:
    names = [escape_markdown(name) for name in headings]
    return tabulate(rows, names, tablefmt="pipe", colalign=align, disable_numparse=True)


FORMAT = Format("markdown", (".md",), write_markdown)

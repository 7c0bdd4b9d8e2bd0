"""A report as GitHub-flavoured Markdown."""

import re

from tabulate import tabulate

from okdbench.report.grid import cell_by_cell, head_by_head, lay_out
from okdbench.report.model import Entry, Listing, Report
from okdbench.report.words import DASH, heading, legend


def markdown(report: Report) -> str:
    """Title, a table for each panel with ``ours<br>theirs`` in its cells, the statistics cell by cell, the legend."""
    title, source = heading(report)
    blocks = [f"### {escape(title)}", _line(source)]
    if report.choice == "all":
        blocks.append(_listing(head_by_head(report)))
    else:
        grid = lay_out(report)
        for panel in grid.panels:
            rows = [[escape(name), *map(_cell, entries)] for name, entries in panel.rows]
            blocks += [f"**{escape(panel.title)}**" if panel.title else ""]
            blocks.append(_table([grid.corner, *grid.columns], rows, ["left"] * (1 + len(grid.columns))))
        details = cell_by_cell(report)
        if details.rows:
            blocks += [f"**{details.title}**", _listing(details)]
    blocks.append("\n".join(f"- {_line(line)}" for line in legend(report)))
    return "\n\n".join(filter(None, blocks)) + "\n"


def escape(text: str) -> str:
    """Plain text that no Markdown reader takes for markup, also inside a table."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]~$])", r"\\\1", text)


def _line(text: str) -> str:
    """Plain text that begins a paragraph or a list item, where a sign or number would begin a list or heading."""
    return re.sub(r"^(\d*)([-+#.)])", r"\1\\\2", escape(text))


def _cell(entry: Entry | None) -> str:
    """Ours over theirs, theirs in italics."""
    if entry is None:
        return ""
    theirs = escape(entry.theirs)
    if theirs and entry.theirs != DASH:
        theirs = f"*{theirs}*"
    return "<br>".join(filter(None, (escape(entry.own), theirs)))


def _listing(listing: Listing) -> str:
    words = len(listing.headings) - listing.numeric
    rows = [[escape(value) for value in row] for row in listing.rows]
    return _table(listing.headings, rows, ["left"] * words + ["right"] * listing.numeric)


def _table(headings: "list[str] | tuple[str, ...]", rows: list[list[str]], align: list[str]) -> str:
    names = [escape(name) for name in headings]
    return tabulate(rows, names, tablefmt="pipe", colalign=align, disable_numparse=True)

"""LaTeX tables, which need only the packages booktabs, amssymb and graphicx."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from okdbench.report.columns import column_parts
from okdbench.report.formats import Content, Format, Screen
from okdbench.report.model import Document, Entry, Listing, Panel, PrintedTable
from okdbench.report.numbers import DASH

_CHARACTERS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # after a line's end a bare bracket would be read as its option
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    '"': "''",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "✓": r"$\checkmark$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "°": r"$^\circ$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "—": "---",
    "–": "--",
    "*": r"$^*$",
    **{chr(code): rf"$\{name}$" for code, name in zip(range(0x3B1, 0x3BA), ("alpha", "beta", "gamma", "delta",
       "epsilon", "zeta", "eta", "theta", "iota"), strict=True)},
    "κ": r"$\kappa$",
    "λ": r"$\lambda$",
    "μ": r"$\mu$",
    "σ": r"$\sigma$",
    "τ": r"$\tau$",
    "ω": r"$\omega$",
}  # fmt: skip


_LINE, _SMALL_LINE = 72, 84
"""Characters on a line of an article page, in the sizes footnotesize and scriptsize."""
_ROWS_HEIGHT, _PAGE_HEIGHT = 400.0, 500.0
"""Points for the rows of one table, and for rows and notes, on an article page."""
_PLACES = ("{}", r"\textbf{{{}}}", r"\underline{{{}}}")
"""How the best and the second number look."""


def write_latex(content: Content, screen: Screen) -> str:
    """``table`` environments in the paper's layout: each row is ours, below it theirs in italics, then notes.

    The best of ours is bold, the second underlined. A table that is larger than an article page is divided.
    """
    environments = (text for document in content.documents() for text in _environments(document))
    return "\n".join(environments)


def _environments(document: Document) -> Iterator[str]:
    """One or several for each table, the first with the label; below the last one stand the source and the legend."""
    label = rf"\label{{tab:{document.name}}}" if document.name else ""
    for number, table in enumerate(document.tables, start=1):
        title = f": {table.title}" if isinstance(table, Listing) else ""
        last = number == len(document.tables)
        notes = [table.note] if isinstance(table, Listing) else []
        notes += [document.source, *document.legend] if last else []
        parts: list[tuple[PrintedTable | Listing, float]] = []
        parts += _listing_parts(table) if isinstance(table, Listing) else _parts(table)
        for index, (part, height) in enumerate(parts):
            more = " (continued)" if index else ""
            below = list(filter(None, notes)) if index + 1 == len(parts) else []
            yield _environment(part, document.caption + title + more, label, below, height)
            label = ""


def _parts(table: PrintedTable) -> Iterator[tuple[PrintedTable, float]]:
    """The table in parts that fit a page, and the height of their rows in points."""
    rows = [row for panel in table.panels for row in panel.rows]
    widths = [max(map(len, (table.corner, *(name for name, _ in rows))), default=0)]
    for index, name in enumerate(table.columns):
        lines = (line for _, entries in rows if (entry := entries[index]) for line in entry.lines)
        widths.append(max(map(len, (name, *lines))))
    every = list(range(len(widths)))
    parts = column_parts(widths, 1, _LINE) if len(table.columns) <= 4 else None
    for columns in parts or column_parts(widths, 1, _SMALL_LINE) or [every]:
        kept = [i - 1 for i in columns[1:]]
        panels: list[Panel] = []
        height = 0.0
        for panel in table.panels:
            height += 12
            chosen: list[tuple[str, tuple[Entry | None, ...]]] = []
            for name, entries in panel.rows:
                mine = tuple(entries[i] for i in kept)
                needed = 4 + 8.5 * max((len(entry.lines) for entry in mine if entry), default=1)
                if height + needed > _ROWS_HEIGHT and (chosen or panels):
                    panels += [Panel(panel.title, tuple(chosen))] if chosen else []
                    yield replace(table, columns=tuple(table.columns[i] for i in kept), panels=tuple(panels)), height
                    panels, chosen, height = [], [], 12.0
                chosen.append((name, mine))
                height += needed
            panels.append(Panel(panel.title, tuple(chosen)))
        yield replace(table, columns=tuple(table.columns[i] for i in kept), panels=tuple(panels)), height


def _listing_parts(listing: Listing) -> Iterator[tuple[Listing, float]]:
    """The listing in parts that fit a page, and the height of their rows in points."""
    size = int(_ROWS_HEIGHT / 9.5)
    for start in range(0, max(len(listing.rows), 1), size):
        rows = listing.rows[start : start + size]
        yield replace(listing, rows=rows), 9.5 * len(rows)


def _environment(table: PrintedTable | Listing, caption: str, label: str, notes: list[str], height: float) -> str:
    small = isinstance(table, PrintedTable) and len(table.columns) > 4
    written = [r"\scriptsize", *(rf"{escape_latex(note)}\\" for note in notes)]
    fits = height + 8 * sum(1 + len(note) // 95 for note in notes) <= _PAGE_HEIGHT
    lines = [
        r"% \usepackage{booktabs,amssymb,graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(caption)}}}{label}",
        r"\smallskip",
        r"\scriptsize" if small else r"\footnotesize",
        rf"\setlength{{\tabcolsep}}{{{3 if small else 4}pt}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        *(_grid(table) if isinstance(table, PrintedTable) else _listing(table)),
        "}",
        *((r"\begin{flushleft}", *written, r"\end{flushleft}") if notes and fits else ()),
        r"\end{table}",
        *((r"\begin{flushleft}", *written, r"\end{flushleft}") if notes and not fits else ()),
    ]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Plain text with every character that LaTeX would take for a command, or does not know, spelled out."""
    text = "".join(_CHARACTERS.get(character, character) for character in text)
    return re.sub(r"(?<=\d) \$\\pm\$ (?=\d)", r"$\\,\\pm\\,$", text)  # thin spaces, because these tables are wide


def _grid(grid: PrintedTable) -> Iterator[str]:
    """The paper's table; a panel's name stands above its rows, across all columns."""
    width = len(grid.columns) + 1
    yield rf"\begin{{tabular}}{{{'l' * width}}}"
    yield r"\toprule"
    yield _row((grid.corner, *grid.columns))
    for panel in grid.panels:
        yield r"\midrule"
        if panel.title:
            yield rf"\multicolumn{{{width}}}{{l}}{{\textbf{{{escape_latex(panel.title)}}}}} \\"
        for index, (name, entries) in enumerate(panel.rows):
            if index and grid.paired:
                yield r"\addlinespace"
            yield from _stacked(name, entries)
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _listing(listing: Listing) -> Iterator[str]:
    """A plain table."""
    words = len(listing.headings) - listing.numeric
    yield rf"\begin{{tabular}}{{{'l' * words}{'r' * listing.numeric}}}"
    yield r"\toprule"
    yield _row(listing.headings)
    yield r"\midrule"
    yield from map(_row, listing.rows)
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _stacked(name: str, entries: Sequence[Entry | None]) -> Iterator[str]:
    """One row of the paper's table: ours, below it theirs in italics, below that notes where there are any."""
    cells = [entry.lines if entry else () for entry in entries]
    ours = (_PLACES[entry.place].format(escape_latex(entry.lines[0])) if entry else "" for entry in entries)
    yield _end((escape_latex(name), *ours))
    if any(len(lines) > 1 for lines in cells):
        theirs = (lines[1] if len(lines) > 1 else "" for lines in cells)
        yield _end(
            (
                "",
                *(escape_latex(line) if line in ("", DASH) else rf"\textit{{{escape_latex(line)}}}" for line in theirs),
            )
        )
    if any(len(lines) > 2 for lines in cells):
        yield _row(("", *(lines[2] if len(lines) > 2 else "" for lines in cells)))


def _row(values: Sequence[str]) -> str:
    """Return one line of a tabular from plain text."""
    return _end([escape_latex(value) for value in values])


def _end(values: Sequence[str]) -> str:
    return " & ".join(values).strip() + r" \\"


FORMAT = Format("latex", (".tex",), write_latex)

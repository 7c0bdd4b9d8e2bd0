"""LaTeX tables, which need only the packages booktabs and amssymb."""

import re
from collections.abc import Iterator, Sequence

from okdbench.report.formats import Content, Format, Screen
from okdbench.report.model import Document, Entry, Listing, PrintedTable
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


def write_latex(content: Content, screen: Screen) -> str:
    """``table`` environments in the paper's layout: each row is ours, below it theirs in italics, then notes."""
    environments = (text for document in content.documents() for text in _environments(document))
    return "\n".join(environments)


def _environments(document: Document) -> Iterator[str]:
    """One for each table; below the last one stand the source and the legend."""
    for number, table in enumerate(document.tables, start=1):
        title = f": {table.title}" if isinstance(table, Listing) else ""
        last = number == len(document.tables)
        notes = [table.note] if isinstance(table, Listing) else []
        notes += [document.source, *document.legend] if last else []
        yield _environment(table, document.caption + title, list(filter(None, notes)))


def _environment(table: PrintedTable | Listing, caption: str, notes: list[str]) -> str:
    wide = isinstance(table, PrintedTable) and len(table.columns) > 6  # a page is about 17 cm wide
    lines = [
        r"% \usepackage{booktabs,amssymb}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(caption)}}}",
        r"\smallskip",
        r"\scriptsize" if wide else r"\footnotesize",
        rf"\setlength{{\tabcolsep}}{{{3 if wide else 4}pt}}",
        *(_grid(table) if isinstance(table, PrintedTable) else _listing(table)),
        r"\begin{flushleft}",
        r"\scriptsize",
        *(rf"{escape_latex(note)}\\" for note in notes),
        r"\end{flushleft}",
        r"\end{table}",
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
    yield _row((name, *(lines[0] if lines else "" for lines in cells)))
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

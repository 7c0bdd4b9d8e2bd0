"""LaTeX: an article that compiles as it stands, or the part of one."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from okdbench.report.columns import column_parts
from okdbench.report.formats import Content, Format, Screen
from okdbench.report.model import Document, Entry, Listing, Panel, PrintedTable
from okdbench.report.numbers import DASH

if TYPE_CHECKING:
    from pylatexenc.latexencode import UnicodeToLatexEncoder

PACKAGES = r"\usepackage{booktabs,amssymb,graphicx}"
"""What the tables need."""
_HEAD = (r"\documentclass{article}", r"\usepackage[margin=25mm]{geometry}", PACKAGES)

_OWN = {
    "[": "{[}",  # after a line's end a bare bracket would be read as its option
    "|": r"$|$",  # text fonts have another sign in its place
    "±": r"$\pm$",
    "✓": r"$\checkmark$",
    "✗": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "*": r"$^*$",
    "°": r"$^\circ$",
    "—": "---",
    "–": "--",
}
"""Characters that pylatexenc does not know, or that look better so in a table."""


class _Size(NamedTuple):
    """A size of print: how many characters fit on a line of an article, and whether ± is set as an index."""

    command: str
    line: float
    gap: int
    compact: bool


_SIZES = (_Size(r"\footnotesize", 80, 4, False), _Size(r"\scriptsize", 108, 3, True))
"""The larger one is taken where it needs no more parts; a table that is a little too wide is scaled down."""
_ONE_COLUMN = 42
"""Characters that fit into one of an article's two columns."""
_ROWS_HEIGHT, _PAGE_HEIGHT = 400.0, 500.0
"""Points for the rows of one table, and for rows and notes, on an article page."""
_PLACES = ("{}", r"\textbf{{{}}}", r"\underline{{{}}}")
"""How the best and the second number look."""
_SPREAD = re.compile(r"(?<=\d) ± (\d+\.\d+)")
_CITED = re.compile(r" ?\[@([\w:-]+)\]")
"""A citation in a paragraph, as Pandoc writes it."""


def write_latex(content: Content, screen: Screen) -> str:
    r"""Tables in the paper's layout, each row ours, below it theirs in italics, then notes.

    The best of ours is bold, the second underlined. A table that is larger than an article page is divided. The whole
    is an article; for a ``screen.fragment`` it is what ``\input`` needs, with BibTeX entries as comments.
    """
    documents = content.documents()
    body = "\n".join(text for document in documents for text in _environments(document))
    entries = list(dict.fromkeys(entry for document in documents for entry in document.references))
    if screen.fragment:
        comments = (f"% {line}".rstrip() for entry in entries for line in (*entry, ""))
        return "\n".join([f"% {PACKAGES}", body, *comments]) + "\n"
    file = f"{'-'.join(document.name for document in documents)}-references"
    kept = (
        [
            rf"\begin{{filecontents*}}{{{file}.bib}}",
            *(line for entry in entries for line in entry),
            r"\end{filecontents*}",
        ]
        if entries
        else []
    )
    end = [r"\bibliographystyle{plain}", rf"\bibliography{{{file}}}"] if entries else []
    return "\n".join([*_HEAD, *kept, r"\begin{document}", body, *end, r"\end{document}"]) + "\n"


def _environments(document: Document) -> Iterator[str]:
    """One or several for each table, the first with the label; below the last one stand the source and the legend."""
    label = rf"\label{{tab:{document.name}}}" if document.name else ""
    for number, table in enumerate(document.tables, start=1):
        title = f": {table.title}" if isinstance(table, Listing) else ""
        last = number == len(document.tables)
        notes = [table.note] if isinstance(table, Listing) else []
        notes += [document.source, *document.notes()] if last else []
        parts = list(_listing_parts(table) if isinstance(table, Listing) else _parts(table))
        for index, part in enumerate(parts):
            more = " (continued)" if index else ""
            below = list(filter(None, notes)) if index + 1 == len(parts) else []
            yield _environment(part, document.caption + title + more, label, below)
            label = ""
    for paragraph in document.methods:
        yield "\n".join([r"\begin{sloppypar}", _cited(paragraph), r"\end{sloppypar}"]) + "\n"


class _Part(NamedTuple):
    """A table, or a part of one, that fits a page: its rows' height in points, and its width in characters."""

    table: PrintedTable | Listing
    size: _Size
    height: float
    width: float


def _parts(table: PrintedTable) -> Iterator[_Part]:
    """The table in parts that fit a page."""
    ways = [(size, *_divided(table, size)) for size in _SIZES]
    size, widths, parts = min(ways, key=lambda way: len(way[2]))
    for columns in parts:
        kept = [i - 1 for i in columns[1:]]
        names = tuple(table.columns[i] for i in kept)
        width = sum(widths[i] for i in columns) + len(columns)
        panels: list[Panel] = []
        height = 0.0
        for panel in table.panels:
            height += 12
            chosen: list[tuple[str, tuple[Entry | None, ...]]] = []
            for name, entries in panel.rows:
                mine = tuple(entries[i] for i in kept)
                if not any(mine):
                    continue
                needed = 4 + 8.5 * max((len(entry.lines) for entry in mine if entry), default=1)
                if height + needed > _ROWS_HEIGHT and (chosen or panels):
                    panels += [Panel(panel.title, tuple(chosen))] if chosen else []
                    yield _Part(replace(table, columns=names, panels=tuple(panels)), size, height, width)
                    panels, chosen, height = [], [], 12.0
                chosen.append((name, mine))
                height += needed
            panels += [Panel(panel.title, tuple(chosen))] if chosen else []
        yield _Part(replace(table, columns=names, panels=tuple(panels)), size, height, width)


def _divided(table: PrintedTable, size: _Size) -> tuple[list[float], list[list[int]]]:
    """Return the widths of the columns in characters, the rows' names first, and the columns of each part."""
    rows = [row for panel in table.panels for row in panel.rows]
    widths = [float(max(map(len, (table.corner, *(name for name, _ in rows))), default=0))]
    for index, name in enumerate(table.columns):
        lines = (line for _, entries in rows if (entry := entries[index]) for line in entry.lines)
        widths.append(max(_width(line, size) for line in (name, *lines)))
    every = list(range(len(widths)))
    return widths, column_parts([round(width) for width in widths], 1, round(size.line)) or [every]


def _width(text: str, size: _Size) -> float:
    """Return how wide a text is, in characters; an index takes less, and so do raised signs."""
    raised = sum(_OWN.get(character, "").startswith("$^") for character in text)
    indices = _SPREAD.findall(text) if size.compact else []
    return len(text) - 0.5 * raised - sum(2 + 0.35 * len(index) for index in indices)


def _listing_parts(listing: Listing) -> Iterator[_Part]:
    """The listing in parts that fit a page."""
    rows = (listing.headings, *listing.rows)
    width = sum(max(len(row[i]) for row in rows) + 1 for i in range(len(listing.headings)))
    size = int(_ROWS_HEIGHT / 9.5)
    for start in range(0, max(len(listing.rows), 1), size):
        shown = listing.rows[start : start + size]
        yield _Part(replace(listing, rows=shown), _SIZES[0], 9.5 * len(shown), width)


def _environment(part: _Part, caption: str, label: str, notes: list[str]) -> str:
    written = [r"\scriptsize", *(rf"{escape_latex(note)}\\" for note in notes)]
    fits = part.height + 8 * sum(1 + len(note) // 95 for note in notes) <= _PAGE_HEIGHT
    kind = "table" if part.width <= _ONE_COLUMN else "table*"
    lines = [
        rf"\begin{{{kind}}}",
        r"\centering",
        rf"\caption{{{escape_latex(caption)}}}{label}",
        r"\smallskip",
        part.size.command,
        rf"\setlength{{\tabcolsep}}{{{part.size.gap}pt}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        *(_listing(part.table) if isinstance(part.table, Listing) else _grid(part.table, part.size)),
        "}",
        *((r"\begin{flushleft}", *written, r"\end{flushleft}") if notes and fits else ()),
        rf"\end{{{kind}}}",
        *((r"\begin{flushleft}", *written, r"\end{flushleft}") if notes and not fits else ()),
    ]
    return "\n".join(lines) + "\n"


@cache
def _encoder() -> "UnicodeToLatexEncoder":
    """Return what spells out characters; one that it does not know becomes its code point."""
    from pylatexenc.latexencode import RULE_DICT, UnicodeToLatexConversionRule, UnicodeToLatexEncoder

    own = UnicodeToLatexConversionRule(RULE_DICT, {ord(character): text for character, text in _OWN.items()})
    return UnicodeToLatexEncoder(
        conversion_rules=[own, "defaults"], unknown_char_policy="unihex", unknown_char_warning=False
    )


def escape_latex(text: str) -> str:
    """Plain text with every character that LaTeX would take for a command, or does not know, spelled out."""
    escaped: str = _encoder().unicode_to_latex(re.sub(r'"([^"]*)"', "“\\1”", text))
    return re.sub(r"(?<=\d) \$\\pm\$ (?=\d)", r"$\\,\\pm\\,$", escaped)  # thin spaces, because these tables are wide


def _cited(paragraph: str) -> str:
    """Return a paragraph with its citations as commands, in which long names may break at an underscore."""
    pieces = _CITED.split(paragraph)
    text = "".join(rf"~\cite{{{piece}}}" if i % 2 else escape_latex(piece) for i, piece in enumerate(pieces))
    return text.replace(r"\_", r"\_\allowbreak{}")


def _number(text: str, size: _Size) -> str:
    """Return an entry's line; where the table is wide, its spread is an index."""
    if not size.compact:
        return escape_latex(text)
    pieces = _SPREAD.split(text)
    return "".join(rf"$_{{\pm{piece}}}$" if i % 2 else escape_latex(piece) for i, piece in enumerate(pieces))


def _grid(grid: PrintedTable, size: _Size) -> Iterator[str]:
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
            yield from _stacked(name, entries, size)
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


def _stacked(name: str, entries: Sequence[Entry | None], size: _Size) -> Iterator[str]:
    """One row of the paper's table: ours, below it theirs in italics, below that notes where there are any."""
    cells = [entry.lines if entry else () for entry in entries]
    ours = (_PLACES[entry.place].format(_number(entry.lines[0], size)) if entry else "" for entry in entries)
    yield _end((escape_latex(name), *ours))
    if any(len(lines) > 1 for lines in cells):
        theirs = (lines[1] if len(lines) > 1 else "" for lines in cells)
        yield _end(("", *(escape_latex(line) if line == DASH else _italic(_number(line, size)) for line in theirs)))
    if any(len(lines) > 2 for lines in cells):
        yield _row(("", *(lines[2] if len(lines) > 2 else "" for lines in cells)))


def _italic(text: str) -> str:
    return rf"\textit{{{text}}}" if text else ""


def _row(values: Sequence[str]) -> str:
    """Return one line of a tabular from plain text."""
    return _end([escape_latex(value) for value in values])


def _end(values: Sequence[str]) -> str:
    return " & ".join(values).strip() + r" \\"


FORMAT = Format("latex", (".tex",), write_latex, fragments=True)

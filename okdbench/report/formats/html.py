"""One page for a browser: a file that needs no other, and no network.

The template, its style sheet and its script are the files ``page.*`` of this folder.
"""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from okdbench.report.charts import Plot
from okdbench.report.formats import Content, Format, Screen
from okdbench.report.legend import MARKS
from okdbench.report.model import Appendix, Document, Entry, PrintedTable, unique
from okdbench.report.numbers import DASH
from okdbench.report.svg import Look, drawing, look_of

FILTERED = 8
"""The fewest rows of a listing that has a filter."""


@dataclass(frozen=True)
class _Section:
    """One document of the page, with its place in it."""

    id: str
    document: Document
    appendix: Appendix

    @property
    def verdicts(self) -> list[tuple[str, str, int]]:
        """Verdict, its mark, and the number of printed numbers that have it, by frequency."""
        entries = (entry for entry in self._entries() if entry.theirs not in ("", DASH))
        counts = Counter(entry.verdict for entry in entries)
        return [(verdict, MARKS.get(verdict, ""), count) for verdict, count in counts.most_common()]

    @property
    def measured(self) -> tuple[int, int]:
        """How many cells have a number of ours, and how many there are."""
        entries = list(self._entries())
        return sum(entry.measured for entry in entries), len(entries)

    def _entries(self) -> Iterator[Entry]:
        for table in self.document.tables:
            if isinstance(table, PrintedTable):
                yield from (e for panel in table.panels for _, entries in panel.rows for e in entries if e)


def write_html(content: Content, screen: Screen) -> str:
    """Return the page; the same content gives the same bytes."""
    from jinja2 import Environment, PackageLoader

    pairs = zip(content.documents(), content.appendices(), strict=True)
    sections = [_Section(f"s{number}", *pair) for number, pair in enumerate(pairs, start=1)]
    templates = Environment(
        loader=PackageLoader("okdbench.report", "formats"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters |= {"drawing": drawing, "names": _names, "looks": _looks, "options": _options}
    templates.filters |= {"slug": _slug, "without": _without}
    templates.tests |= {"grid": lambda table: isinstance(table, PrintedTable)}
    script, style = (templates.get_template(name).render() for name in ("page.js", "page.css"))
    page = templates.get_template("page.html").render(
        sections=sections, script=script, style=style, digest=_digest(script), filtered=FILTERED, dash=DASH
    )
    return page.strip() + "\n"  # the template begins with macros


def _digest(script: str) -> str:
    """Return the hash by which the browser knows the one script that it may run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _names(plots: Sequence[Plot]) -> list[str]:
    """Return the names of the series of a chart's plots, in which a name looks the same."""
    return unique(series.name for plot in plots for series in plot.series)


def _looks(plots: Sequence[Plot], names: Sequence[str] | None = None) -> list[tuple[str, Look]]:
    """Return what the legend of these plots says, of a chart whose series have these names."""
    every = names or _names(plots)
    named = {series.name: look_of(series, every) for plot in plots for series in plot.series if series.name}
    return list(named.items())


def _without(title: str, document: str) -> str:
    """Return what a chart's title says beyond the document's."""
    rest = title.removeprefix(document).removeprefix(": ") or "figure"
    return rest[0].upper() + rest[1:]


def _options(command: str) -> list[str]:
    """Return a command in the parts between which it may be broken: before each option."""
    return re.split(" (?=-)", command)


def _slug(verdict: str) -> str:
    return verdict.replace(" ", "-")


FORMAT = Format("html", (".html", ".htm"), write_html)

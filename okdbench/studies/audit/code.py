"""What the released code of a method does otherwise than its paper says, beside the tables that print its numbers."""

from collections.abc import Iterator, Sequence

from okdbench import methods
from okdbench.studies.audit.model import AuditedTable, Finding


def check_code(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """One finding for each difference that a method's settings name, on all tables with numbers of the method."""
    printed: dict[str, list[str]] = {}
    for table in tables:
        for name in dict.fromkeys(number.method.method for number in table.numbers):
            printed.setdefault(name, []).append(table.name)
    for name, recipes in sorted(printed.items()):
        kind = methods.available().get(name)
        for each in kind.Config.differences if kind else ():
            compared = f"{kind.title if kind else name}: {each.what} ({each.source})"
            yield Finding("code", tuple(recipes), compared, each.paper or "not said", each.code, each.touches)

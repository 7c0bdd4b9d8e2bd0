"""How the printed numbers were read: selection on the test set, teachers beside students, names, repeats."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from okdbench.results.protocol import BEST_ON_TEST, describe_head, describe_protocol
from okdbench.results.protocol import chosen as chosen_by
from okdbench.studies.audit.model import AuditedTable, Finding, Number, comma_separated

TEACHERS = "teacher*"
"""The heads that are a method's own teachers, for instance the moving averages of its students."""


def check_selection(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """What the numbers of a table choose by test accuracy; a validation split takes that place if there is one."""
    for table in tables:
        chosen: dict[str, list[str]] = {}
        for number in table.numbers:
            protocol = number.cell.protocol
            if not number.settings.get("data.validation") or protocol.epoch == BEST_ON_TEST:
                picked = chosen_by(protocol.head, protocol.epoch)
                chosen.setdefault(picked, []).append(number.cell.method)
        chosen.pop("", None)
        if chosen:
            printed = "; ".join(f"{what} of {comma_separated(methods)}" for what, methods in chosen.items())
            count = sum(map(len, chosen.values()))
            result = f"{count} of {len(table.numbers)} numbers chosen on the test set"
            yield Finding("selection", (table.name,), table.name, printed, "", result)


def check_heads(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """Tables in which some methods are read at their teacher and others at a student."""
    for table in tables:
        sides: dict[bool, dict[str, list[str]]] = {True: {}, False: {}}
        for number in table.numbers:
            head = number.cell.protocol.head
            words = describe_head(head)
            sides[fnmatchcase(head.pattern, TEACHERS)].setdefault(words, []).append(number.cell.method)
        if all(sides.values()):
            printed, others = (
                "; ".join(f"{comma_separated(methods)}: {head}" for head, methods in sides[side].items())
                for side in (True, False)
            )
            count = sum(map(len, sides[True].values()))
            result = f"{count} of {len(table.numbers)} numbers are a teacher's"
            yield Finding("heads", (table.name,), f"{table.name}: {printed}", others, "", result)


def check_protocols(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """Methods whose numbers are read in one way in one table and in another way in another."""
    found: dict[str, dict[str, list[str]]] = {}
    for table in tables:
        for number in table.numbers:
            protocol = number.cell.protocol
            ways = found.setdefault(f"{number.method}, ensemble" if number.ensemble else number.method, {})
            ways.setdefault(describe_protocol(protocol.head, protocol.epoch), []).append(table.name)
    for method, ways in found.items():
        if len(ways) > 1:
            recipes = tuple(dict.fromkeys(name for tables_ in ways.values() for name in tables_))
            printed = "; ".join(f"{way} ({comma_separated(used)})" for way, used in ways.items())
            yield Finding("protocols", recipes, method, printed, "", f"{len(ways)} protocols")


def check_names(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """Printed names that stand for different networks, in different tables or in one."""
    found: dict[str, dict[str, list[str]]] = {}
    for table in tables:
        for network, built in dict.fromkeys((number.cell.network, number.built) for number in table.numbers):
            name = table.recipe.table.names.get(network, network)
            found.setdefault(name, {}).setdefault(built, []).append(table.name)
    for name, networks in found.items():
        if len(networks) > 1:
            recipes = tuple(dict.fromkeys(recipe for used in networks.values() for recipe in used))
            printed = "; ".join(f"{network} ({comma_separated(used)})" for network, used in networks.items())
            yield Finding("names", recipes, name, printed, "", f"{len(networks)} networks")


def check_repeats(tables: Sequence[AuditedTable]) -> Iterator[Finding]:
    """Standard deviations without the number of runs behind them."""
    for table in tables:
        spread = [number for number in table.numbers if number.reported.std is not None]
        unstated = [number for number in spread if number.reported.n is None]
        if unstated:
            printed = f"{len(spread)} of {len(table.numbers)} numbers with ±: n not stated for {_methods(unstated)}"
            result = f"{len(unstated)} of {len(spread)} without n"
            yield Finding("repeats", (table.name,), table.name, printed, "", result)


def _methods(numbers: Sequence[Number]) -> str:
    return comma_separated(number.cell.method for number in numbers)

"""Printed numbers with what is needed to compare them across tables, and what a comparison finds."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from okdbench.plan import Cell, Reported, Selection
from okdbench.plan.expansion import expand_table
from okdbench.recipe import CellKey, Recipe
from okdbench.recipe.label import Label
from okdbench.recipe.settings import cell_settings

Check = Literal[
    "claims", "code", "columns", "std", "tables", "twins", "sources", "gains", "sweeps",
    "single-runs", "groups", "selection", "heads", "protocols", "names", "repeats",
]  # fmt: skip
ENSEMBLE = re.compile("ensemble|fused")
"""Heads that are several networks together."""
HALF_DIGIT = 0.005
"""Numbers are printed with two decimals: closer than this is equal to the digit."""


@dataclass(frozen=True)
class Finding:
    """One thing compared: what is printed, what follows from it, and the result in words.

    ``recipes`` are the tables that it is about. Of a claim, ``claim`` is the id, ``holds`` whether it holds, None where
    only runs can decide it, and ``ours`` what one's own runs say, "" where there are none.
    """

    check: Check
    recipes: tuple[str, ...]
    compared: str
    printed: str
    computed: str
    result: str
    claim: str = ""
    holds: bool | None = None
    ours: str = ""


@dataclass(frozen=True)
class Number:
    """A printed number, its cell, and the cell's resolved settings by dotted key."""

    recipe: Recipe
    cell: Cell
    reported: Reported
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def method(self) -> Label:
        """The label in the grid."""
        return self.cell.method

    @property
    def accuracy(self) -> float:
        """The mean in percent of accuracy, whatever is printed."""
        return self.reported.mean if self.reported.metric == "accuracy" else 100.0 - self.reported.mean

    @property
    def text(self) -> str:
        """As printed: ``5.67 ± 0.12 error``."""
        spread = "" if self.reported.std is None else f" ± {self.reported.std:.2f}"
        return f"{self.reported.mean:.2f}{spread}{' error' if self.reported.metric == 'error' else ''}"

    def equals(self, other: "Number") -> bool:
        """Return whether the means are equal to the digit, an error being 100 - accuracy."""
        return abs(self.accuracy - other.accuracy) < HALF_DIGIT

    def same_std(self, other: "Number") -> bool:
        """Return whether both have a standard deviation and these are equal to the digit."""
        mine, theirs = self.reported.std, other.reported.std
        return mine is not None and theirs is not None and abs(mine - theirs) < HALF_DIGIT

    @property
    def built(self) -> str:
        """The network that the number belongs to: that of its runs, unless these are of several networks."""
        return self.cell.network if self.cell.trained_network.is_several else self.cell.trained_network

    @property
    def place(self) -> str:
        """Which cell of which grid, and whether it is an ensemble's."""
        return f"{self.cell.key}{' (ensemble)' if self.ensemble else ''}"

    @property
    def ensemble(self) -> bool:
        """Whether the number belongs to several networks together."""
        return bool(ENSEMBLE.search(self.cell.protocol.head.pattern))

    def value(self, axis: str) -> Any:
        """Return the cell's value of a setting that is an axis of some grid, None if its method has no such setting."""
        return self.settings.get(setting_of(axis, self.method))

    def comparable(self, other: "Number") -> bool:
        """Return whether both are the same data set, network and label, an ensemble or not, and equal on the axes of
        either.

        Settings that are the same for a whole table, such as the number of peers, do not count: they are how its
        authors read the method.
        """
        mine, theirs = self.cell, other.cell
        if mine.key[:3] != theirs.key[:3] or self.ensemble != other.ensemble:
            return False
        axes = {axis for axis, _ in (*mine.settings, *theirs.settings)}
        return all(self.value(axis) is not None and self.value(axis) == other.value(axis) for axis in axes)


@dataclass(frozen=True)
class AuditedTable:
    """A recipe and its printed numbers, in the order of its grid."""

    recipe: Recipe
    numbers: tuple[Number, ...]

    @property
    def name(self) -> str:
        """The recipe's."""
        return self.recipe.name

    @property
    def paper(self) -> str:
        """Title of the paper, "" where the recipe has no source."""
        return self.recipe.source.paper if self.recipe.source else ""

    @property
    def age(self) -> tuple[int, str, str]:
        """Sorts papers by their year, then by the number of their preprint, which counts up."""
        source = self.recipe.source
        return (source.year, source.arxiv, source.paper) if source else (0, "", "")

    def shared(self, other: "AuditedTable") -> list[tuple[Number, Number]]:
        """Comparable numbers of both, mine first."""
        return [(a, b) for a in self.numbers for b in other.numbers if a.comparable(b)]

    def panels(self) -> dict[str, list[Number]]:
        """Return the numbers of each data set and network, under a name for the two."""
        found: dict[str, list[Number]] = {}
        for number in self.numbers:
            found.setdefault(f"{number.cell.dataset} / {number.cell.network}", []).append(number)
        return found


def tables(recipes: Iterable[Recipe]) -> list[AuditedTable]:
    """Return an `AuditedTable` for each recipe with printed numbers, the latest paper first, then by name."""
    found = [AuditedTable(recipe, tuple(_numbers(recipe))) for recipe in recipes if recipe.reported]
    return sorted(sorted(found, key=lambda table: table.name), key=lambda table: table.age, reverse=True)


def settings_of(recipe: Recipe, key: CellKey) -> dict[str, Any]:
    """Return every setting of a cell by its dotted key; without those of the method where it does not exist yet."""
    own = cell_settings(key, enumerate(recipe.overrides), recipe.variants, recipe.grid.method)
    resolved = recipe.resolver(key.method, own)[0]
    return resolved.flat(key.method.method) if resolved else {}


def setting_of(axis: str, label: Label) -> str:
    """Return the dotted key that an axis sets for a method: ``method.peers`` is ``dml.peers`` for ``dml``."""
    return f"{label.method}.{axis.partition('.')[2]}"


def clusters(numbers: Iterable[Number]) -> list[list[Number]]:
    """Groups within which any two numbers are comparable; each number is in one group.

    Numbers of sweeps come last, so that they join the plain cells that they agree with and keep none apart.
    """
    found: list[list[Number]] = []
    for number in sorted(numbers, key=lambda number: len(number.cell.settings)):
        home = next((group for group in found if all(number.comparable(other) for other in group)), None)
        if home is None:
            found.append([number])
        else:
            home.append(number)
    return found


def comma_separated(words: Iterable[str]) -> str:
    """Return each word once, with commas."""
    return ", ".join(dict.fromkeys(words))


def names(numbers: Sequence[Number]) -> tuple[str, ...]:
    """Return the recipes that print the numbers, each once."""
    return tuple(dict.fromkeys(number.recipe.name for number in numbers))


def _numbers(recipe: Recipe) -> Iterator[Number]:
    for cell in expand_table(recipe, Selection()).cells:
        if cell.reported:
            yield Number(recipe, cell, cell.reported, settings_of(recipe, cell.key))

"""What a recipe takes over from one that it extends.

It works on the content of files as parsed, before that is checked: what it does not understand it leaves as it is, for
`okdbench.recipe.checks` to say what is wrong with it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from okdbench.recipe.axes import NAMED_AXES, Axes, CellKey, ReadAxes, own_axes, readable_axes
from okdbench.recipe.formula import cells_of
from okdbench.recipe.label import Label

Content = Mapping[str, Any]


def laid_over(base: Content, own: Content) -> dict[str, Any]:
    """Return a recipe with what another one adds, replaces, or takes away by null; mappings within it likewise.

    A mapping with another ``name``, such as that of another schedule, takes the place of the whole. Where the other has
    a grid or readings, what the first says of values that only its own have is left out. What is for some cells is kept
    for those that remain, and for teachers. A claim is kept if it is about the same cells as before, so that a mean
    over five networks never becomes one over two.
    """
    axes = {section: own[section] for section in ("grid", "readings") if section in own}
    joined = _merged(base, axes, base)
    if not axes or not isinstance(base.get("grid"), dict) or not isinstance(joined.get("grid"), dict):
        return _merged(base, own, base)
    rest = {key: value for key, value in own.items() if key != "grid"}
    return _merged(_moved(base, joined, own.get("grid", {})), rest, base)


def _merged(base: Content, own: Content, known: Content) -> dict[str, Any]:
    """Return ``base`` with what ``own`` adds, replaces, or takes away of what is ``known``."""
    result = dict(base)
    for key, value in own.items():
        before = known.get(key)
        if value is None and key in known:
            result.pop(key, None)
        elif (
            isinstance(value, dict)
            and isinstance(before, dict)
            and value.get("name", before.get("name")) == before.get("name")
        ):
            inner = _merged(base.get(key, {}), value, before)
            if inner or key in base or not value:
                result[key] = inner
        else:
            result[key] = value
    return result


def _moved(base: Content, joined: Content, own: Collection[str]) -> dict[str, Any]:
    """Return a recipe on the grid and with the readings of ``joined``, without what it says of those that are gone.

    Of the axes, an ``own`` one remains, whatever becomes of its method.
    """
    old, new = readable_axes(base), readable_axes(joined)
    grid = joined["grid"]
    if not all(axis in old for axis in NAMED_AXES):
        return {**base, "grid": grid}
    unread = {axis: old[axis] for axis in NAMED_AXES if axis not in new}  # a mistake, which is reported on its own
    lost = _names(old["method"]) - _names([*(new | unread)["method"], *new.teachers["method"]])
    grid = {axis: values for axis, values in grid.items() if axis in own or str(axis).partition(".")[0] not in lost}
    new = readable_axes({**joined, "grid": grid})
    new.update(unread)
    move = _Move(old, new, lost)
    kept = {section: remaining(move, base[section]) for section, remaining in _REMAINING.items() if section in base}
    return {key: value for key, value in {**base, **kept, "grid": grid}.items() if key not in kept or value is not None}


@dataclass(frozen=True)
class _Move:
    """From the axes of one grid to those of another; what is returned as None does not remain."""

    old: Axes
    new: ReadAxes
    lost: Collection[str]
    """Labels, methods and suffixes that no label of the new grid, and no teacher, has."""

    def lacks(self, axis: str, value: Any) -> bool:
        """Return whether the old grid has the value on this axis and the new one does not."""
        return value in self.old.get(axis, ()) and value not in self.new.get(axis, ())

    def by_label(self, entries: Any) -> Any:
        """Entries by label, by the suffix of labels, or by method."""
        if not isinstance(entries, dict):
            return entries
        gone = _names(self.old["method"]) - _names(self.new["method"])
        return {name: entry for name, entry in entries.items() if name not in gone} or None

    def settings(self, settings: Any) -> Any:
        """Dotted settings without those of methods that are gone, and those that are now an axis."""
        if not isinstance(settings, dict):
            return settings
        return {key: value for key, value in settings.items() if not self._never_set(str(key))}

    def _never_set(self, key: str) -> bool:
        section, _, rest = key.partition(".")
        axes = (key, f"method.{rest}") if section in _names(self.new["method"]) else ()
        return section in self.lost or any(axis in self.new and axis not in self.old for axis in axes)

    def choice(self, choice: Any, besides: Mapping[str, Collection[Any]] = MappingProxyType({})) -> Any:
        """Lists of values by axis; None where one of them has no value left. Values ``besides`` the grid are kept."""
        if not isinstance(choice, dict):
            return choice
        kept = {axis: self._values(axis, values, besides.get(axis, ())) for axis, values in choice.items()}
        return kept if [] not in kept.values() else None

    def _values(self, axis: str, values: Any, besides: Collection[Any] = ()) -> Any:
        listed = values if isinstance(values, list) else [values]
        kept = [value for value in listed if value in besides or not self.lacks(axis, value)]
        return kept if len(kept) < len(listed) else values

    def for_some_cells(self, item: Any) -> Any:
        """An override, or cells that are left out."""
        if not isinstance(item, dict):
            return item
        kept = {**item, "when": self.choice(item.get("when", {}), self.new.teachers)}
        if "set" in item:
            kept["set"] = self.settings(item["set"])
        return None if kept["when"] is None or (item.get("set") and not kept["set"]) else kept

    def smoke(self, smoke: Any) -> Any:
        """The run of a few seconds; an axis of which nothing is left is whole."""
        if not isinstance(smoke, dict):
            return smoke
        parts = dict(smoke)
        if isinstance(grid := smoke.get("grid"), dict):
            kept = {axis: self._values(axis, values) for axis, values in grid.items()}
            parts["grid"] = {axis: values for axis, values in kept.items() if values != []}
        if "set" in smoke:
            parts["set"] = self.settings(smoke["set"])
        return parts

    def reported(self, reported: Any) -> Any:
        """Printed numbers."""
        if not isinstance(reported, dict):
            return reported
        cells = _some(self._printed, reported.get("cells"))
        return None if cells is None else {**reported, "cells": cells}

    def _printed(self, cell: Any) -> Any:
        if not isinstance(cell, dict) or not isinstance(cell.get("method"), str):
            return cell
        own = [own_axes(axes, Label(cell["method"])) for axes in (self.old, self.new)]
        gone = any(self.lacks(axis, value) for axis, value in cell.items()) or set(own[0]) != set(own[1])
        return None if gone else cell

    def claim(self, claim: Any) -> Any:
        """A claim; it remains if the cells of its formula are the same."""
        if not isinstance(claim, dict) or not isinstance(formula := claim.get("formula"), str):
            return claim
        return claim if _cells(formula, self.old) == _cells(formula, self.new) else None

    def layout(self, layout: Any) -> Any:
        """A table, whose reference is a label, or a figure, whose is one of its lines; a name goes with its axis."""
        if not isinstance(layout, dict):
            return layout
        kept = dict(layout)
        if self.lacks(str(layout.get("lines", "method")), layout.get("reference")):
            del kept["reference"]
        if isinstance(names := layout.get("names"), dict):
            stay = {str(value) for axis in self.old if axis in self.new for value in self.old[axis]}
            gone = {str(value) for axis in self.old if axis not in self.new for value in self.old[axis]} - stay
            kept["names"] = {value: name for value, name in names.items() if str(value) not in gone}
        return kept


_REMAINING: Mapping[str, Callable[[_Move, Any], Any]] = {
    "overrides": lambda move, items: _some(move.for_some_cells, items),
    "left_out": lambda move, items: _some(move.for_some_cells, items),
    "variants": _Move.by_label,
    "teachers": _Move.by_label,
    "protocol": _Move.by_label,
    "readings": lambda move, readings: _of_each(move.choice, readings),
    "smoke": _Move.smoke,
    "reported": _Move.reported,
    "claims": lambda move, items: _some(move.claim, items),
    "table": _Move.layout,
    "figure": _Move.layout,
}
"""What remains of each section that names values of the grid."""


def _names(labels: Iterable[Label]) -> set[str]:
    return {name for label in labels for name in (label, label.method, label.suffix) if name}


def _some(remaining: Callable[[Any], Any], items: Any) -> Any:
    """Return what remains of each item of a list, None if nothing does."""
    if not isinstance(items, list):
        return items
    return [kept for kept in map(remaining, items) if kept is not None] or None


def _of_each(remaining: Callable[[Any], Any], entries: Any) -> Any:
    """Return what remains of each entry of a mapping, None if nothing does."""
    if not isinstance(entries, dict):
        return entries
    kept = {name: remaining(entry) for name, entry in entries.items()}
    return {name: entry for name, entry in kept.items() if entry is not None} or None


def _cells(formula: str, axes: Axes) -> frozenset[CellKey] | None:
    """Return the cells that a formula is about; None if it asks for a value that the grid does not have."""
    try:
        return frozenset(cells_of(formula, axes))
    except ValueError:
        return None

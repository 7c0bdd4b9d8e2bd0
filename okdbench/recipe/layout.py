"""How a recipe's cells are laid out: as the paper's table, and as a figure."""

from collections import Counter
from functools import cache
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from okdbench import data, methods, networks
from okdbench.config import StrictModel
from okdbench.recipe.axes import (
    DEFAULT_READING,
    READING,
    Axis,
    Reference,
    Scalar,
    Several,
    an_axis,
    axis_values,
    check_value,
    own_axes,
)

EPOCH_AXIS = "epoch"
"""A figure's x if it is not an axis of the grid."""


def _an_axis_or_the_epochs(value: str, info: ValidationInfo) -> str:
    return value if value == EPOCH_AXIS else an_axis(value, info)


def _place(places: list[str], roles: str, info: ValidationInfo, without_place: tuple[str, ...] = ()) -> None:
    """Raise ValueError if an axis of the grid has two places, or several values and no place, unless it needs none."""
    if len(set(places)) < len(places):
        raise ValueError(f"{roles.replace(' or ', ' and ')} must be different axes")
    several = (axis for axis, values in (info.context or {}).items() if len(values) > 1 and axis not in places)
    free = (*without_place, *([READING] if "method" in places else ()))  # readings can stand beside methods
    homeless = [axis for axis in several if axis not in free]
    if homeless:
        raise ValueError(f"grid.{homeless[0]} has several values and no place; make it {roles}")


@cache
def _titles() -> dict[str, str]:
    """Return the titles of networks and data sets, without those that several share."""
    found = {name: each.title for known in (networks.available(), data.available()) for name, each in known.items()}
    shared = Counter(found.values())
    return {name: title for name, title in found.items() if shared[title] == 1}


class Table(StrictModel):
    """The layout: which axis is what, and the names that the paper prints."""

    rows: Axis = "network"
    columns: Axis = "method"
    panels: Axis | None = None
    reference: Reference | None = Field(
        default=None,
        description="method to which differences, paired by seed, are shown; default: the same runs under the protocol",
    )
    names: dict[Annotated[str, BeforeValidator(str)], str] = Field(
        default={}, description="what the paper calls a value, the suffix of labels, or an axis of the grid"
    )
    caption: str = ""

    def printed(self, value: str) -> str | None:
        """Return what the paper calls a value, None if the recipe does not say.

        A label without a name of its own is called by its method's and its suffix's, ``@ema: + EMA``, a pair of
        networks by the names of both; so is a label with its reading, ``LABEL@READING``. A method, network or data set
        without one is called by its title, unless several networks have the same.
        """
        if value in self.names:
            return self.names[value]
        rest, at, end = value.rpartition("@")
        if at:
            name = self.printed(rest)
            added = self.names.get(at + end, self.names.get(end))
            return f"{name or rest} {added}" if added else name and name + at + end
        if kind := methods.available().get(value):
            return kind.title or None
        if "+" in value:
            return " + ".join(self.printed(part) or part for part in value.split("+"))
        return _titles().get(value)

    @property
    def separates_readings(self) -> bool:
        """Whether readings have a place of their own; else they stand beside their methods."""
        return READING in (self.rows, self.columns, self.panels)

    @model_validator(mode="after")
    def _every_axis_has_its_place(self, info: ValidationInfo) -> "Table":
        _place([self.rows, self.columns, *([self.panels] if self.panels else [])], "rows, columns or panels", info)
        reference = self.reference if self.reference != DEFAULT_READING else None
        own = own_axes(info.context or {}, reference) if reference else {}
        several = [axis for axis, values in own.items() if len(values) > 1 and not axis.startswith("method.")]
        if several:
            raise ValueError(f"reference: {self.reference} has a cell for each {several[0]}; name a variant instead")
        return self


class Figure(StrictModel):
    """What is drawn of the cells, with the names of the table: accuracy over the epochs, or each number over an axis.

    There is a line for each value of ``lines`` and a panel for each combination of values of ``panels``. Over the
    epochs, ``reference`` is the value of ``lines`` from which the differences, paired by seed, are drawn below.
    """

    x: Annotated[str, AfterValidator(_an_axis_or_the_epochs)] = EPOCH_AXIS
    lines: Axis | None = None
    panels: Several[Axis] | None = None
    reference: Scalar | None = None
    label: str = Field(default="", description="what x is, where its name in the table is too short")
    bars: bool = Field(default=False, description="bars instead of points")

    @model_validator(mode="after")
    def _every_axis_has_its_place(self, info: ValidationInfo) -> "Figure":
        if self.bars and self.x == EPOCH_AXIS:
            raise ValueError("bars stand over an axis of the grid, not over the epochs; name the axis as x")
        # Over the epochs, what is drawn is the recipe's own reading unless readings have a place.
        without_place = (READING,) if self.x == EPOCH_AXIS else ()
        places = [self.x, *([self.lines] if self.lines else []), *(self.panels or ())]
        _place(places, "x, lines or panels", info, without_place)
        if self.reference is not None:
            if self.lines is None or self.x != EPOCH_AXIS:
                raise ValueError("reference is one of the lines over the epochs; add lines and x: epoch, or remove it")
            check_value(self.lines, self.reference, axis_values(info, self.lines) or (self.reference,))
        return self

"""The grid of a recipe: its axes, its cells, and types of values that must lie on it.

Grid axes are ``dataset``, ``network``, ``method`` and any setting of a method, written ``<method>.<setting>``; such an
axis multiplies the cells of that method only, and ``method.<setting>`` those of all methods. The recipe's readings are
one more axis, ``reading``: each says how another number is read from the same runs. Validation gets the recipe's own
axes as its context, so that names elsewhere in the file can be checked against them.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from math import prod
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from okdbench.recipe.label import Label
from okdbench.recipe.problems import preview, unknown

Axes = Mapping[str, tuple[Any, ...]]
NAMED_AXES = ("dataset", "network", "method")
READING = "reading"
DEFAULT_READING = "default"
"""The reading that every cell has: that of the recipe's protocol alone."""
MOST_VALUES, MOST_CELLS = 1_000, 10_000
"""How many values an axis, and cells a grid, may have: beyond them there is a mistake, such as a number in a list."""
T = TypeVar("T")


class CellKey(NamedTuple):
    """Which cell of the grid: ``settings`` are the values of the extra axes that belong to the method."""

    dataset: str
    network: str
    method: Label
    settings: tuple[tuple[str, Any], ...] = ()
    reading: str = DEFAULT_READING

    def __str__(self) -> str:
        reading = [self.reading] if self.reading != DEFAULT_READING else []
        return " / ".join([*self[:3], *(f"{axis}={value}" for axis, value in self.settings), *reading])

    @property
    def names(self) -> dict[str, str]:
        """What is trained, keyed by table heading; settings come without the method's name."""
        settings = " ".join(f"{axis.partition('.')[2]}={value}" for axis, value in self.settings)
        return {"data set": self.dataset, "network": self.network, "method": self.method, "settings": settings}


class ReadAxes(dict[str, tuple[Any, ...]]):
    """The axes of a parsed file; ``teachers`` are the networks and methods that teach methods of its grid."""

    teachers: Mapping[str, tuple[Any, ...]] = MappingProxyType({"network": (), "method": ()})


def readable_axes(raw: Mapping[str, Any]) -> ReadAxes:
    """Return the axes of a parsed file that can be read, so that a mistake there does not hide those elsewhere."""
    axes = ReadAxes()
    grid = raw.get("grid")
    if not isinstance(grid, dict):
        return axes
    for axis, values in grid.items():
        kinds = str if axis in NAMED_AXES else str | int | float
        listed = values if isinstance(values, list) else [values]
        usable = tuple(value for value in listed if isinstance(value, kinds))
        if usable and (axis in NAMED_AXES or "." in str(axis)):
            axes[str(axis)] = tuple(map(Label, usable)) if axis == "method" else usable
    readings = raw.get("readings")
    if isinstance(readings, dict) and readings:
        axes[READING] = (DEFAULT_READING, *map(str, readings))
    axes.teachers = _teachers(raw.get("teachers"), axes.get("method", ()))
    return axes


def _teachers(teachers: Any, labels: Iterable[Label]) -> dict[str, tuple[Any, ...]]:
    """Return the networks and methods of those teachers that can be read and are for one of the ``labels``."""
    entries = teachers.items() if isinstance(teachers, dict) else ()
    taught = {label.method for label in labels}
    used = [entry for name, entry in entries if name in taught and isinstance(entry, dict)]
    networks, methods = (
        [each[key] for each in used if isinstance(each.get(key), str)] for key in ("network", "method")
    )
    return {"network": tuple(networks), "method": tuple(map(Label, methods))}


def own_axes(axes: Axes, label: Label) -> dict[str, tuple[Any, ...]]:
    """Return the axes of settings that belong to the method of this label."""
    return {
        axis: values
        for axis, values in axes.items()
        if "." in axis and axis.partition(".")[0] in ("method", label.method)
    }


def size_problem(axes: Axes) -> str | None:
    """Return what is wrong with a grid of more cells than anybody can train."""
    cells = 0
    for method in axes.get("method", ()):
        cells += prod(len(values) for values in own_axes(axes, Label(method)).values())
    cells *= prod(len(axes.get(axis, ("",))) for axis in ("dataset", "network"))
    return f"makes {cells:,} cells; name fewer values, for at most {MOST_CELLS:,}" if cells > MOST_CELLS else None


def cell_keys(axes: Axes) -> Iterator[CellKey]:
    """All cells of the grid in its own order, the extra axes innermost, under the default reading."""
    for dataset, network, method in product(*(axes.get(axis, ("",)) for axis in NAMED_AXES)):
        extra = own_axes(axes, Label(method))
        for values in product(*extra.values()):
            yield CellKey(dataset, network, Label(method), tuple(sorted(zip(extra, values, strict=True))))


def label_and_reading(text: str, axes: Axes) -> tuple[str, str | None]:
    """Split ``LABEL@READING`` into both; return ``text`` and None if it is a label itself."""
    label, _, reading = text.rpartition("@")
    known = text not in axes.get("method", ()) and label in axes.get("method", ())
    return (label, reading) if known and reading in axes.get(READING, ()) else (text, None)


def _listed(value: Any) -> Any:
    """Turn a single value into a list of one."""
    return value if value is None or isinstance(value, list | tuple | dict) else [value]


def _some_once_each(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("is empty; name at least one")
    if len(values) > MOST_VALUES:
        raise ValueError(f"has {len(values):,} values; name at most {MOST_VALUES:,}")
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"{preview(value)} is listed twice; keep one")
    return values


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, list | dict):
        raise ValueError(f"must be a single value, not {preview(value)}")
    return value


def axis_values(info: ValidationInfo, axis: str) -> tuple[Any, ...] | None:
    """Return the grid's values on an axis, None if the grid is unknown or itself wrong there."""
    return info.context.get(axis) if info.context else None


def check_value(axis: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise ValueError if the value is not among the axis's."""
    if value not in choices:
        raise ValueError(f"grid.{axis} has no {preview(value)}; choose from: {', '.join(map(str, choices))}")


def _on(axis: str, *others: str, teachers: bool = False) -> AfterValidator:
    """Accept only values of this axis of the recipe's grid, the ``others``, and those of ``teachers``."""

    def check(value: T, info: ValidationInfo) -> T:
        choices = axis_values(info, axis)
        besides = (*others, *info.context.teachers[axis]) if teachers and isinstance(info.context, ReadAxes) else others
        if choices is not None and value not in (*besides, *choices):
            raise ValueError(unknown(f"grid.{axis} has no", str(value), tuple(map(str, choices))))
        return value

    return AfterValidator(check)


def an_axis(value: str, info: ValidationInfo) -> str:
    """Return the name of an axis of the grid; raise ValueError for another."""
    axes = list(dict.fromkeys([*NAMED_AXES, *(info.context or ())]))
    if info.context and value not in axes:
        raise ValueError(unknown("the grid has no axis", value, axes))
    return value


def among_labels(value: str, info: ValidationInfo, *others: str) -> Label:
    """Return a label of the grid, the suffix of some, or one of the ``others``; raise ValueError for anything else."""
    labels = axis_values(info, "method")
    suffixes = filter(None, (Label(label).suffix for label in labels or ()))
    choices = tuple(dict.fromkeys([*others, *(labels or ()), *suffixes]))
    if labels is not None and value not in choices:
        raise ValueError(unknown("grid.method has no", value, choices))
    return Label(value)


Several = Annotated[tuple[T, ...], BeforeValidator(_listed), AfterValidator(_some_once_each)]
DatasetOnGrid = Annotated[str, _on("dataset")]
NetworkOnGrid = Annotated[str, _on("network")]
LabelOnGrid = Annotated[Label, _on("method")]
TrainedNetwork = Annotated[str, _on("network", teachers=True)]
TrainedLabel = Annotated[Label, _on("method", teachers=True)]
Reference = Annotated[Label, _on("method", DEFAULT_READING)]
LabelOrSuffix = Annotated[str, AfterValidator(among_labels)]
Axis = Annotated[str, AfterValidator(an_axis)]
Scalar = Annotated[Any, AfterValidator(_scalar)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_listed), AfterValidator(_some_once_each)]

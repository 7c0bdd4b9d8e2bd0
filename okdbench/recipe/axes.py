"""The grid of a recipe: its axes, its cells, and types of values that must lie on it.

Grid axes are ``dataset``, ``network``, ``method`` and any setting of a method, written ``<method>.<setting>``; such an
axis multiplies the cells of that method only, and ``method.<setting>`` those of all methods. A method's label may name
a preset, ``dkel@released``, or a variant that the recipe defines, ``dkel@no-init``. Where a file says something by
label, a suffix alone, ``@no-init``, stands for every label that ends so and has no entry of its own. A network may be a
pair, ``resnet32+wrn40_2``. Validation gets the recipe's own axes as its context, so that names elsewhere in the file
can be checked against them.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from okdbench.recipe.problems import preview, unknown

Axes = Mapping[str, tuple[Any, ...]]
NAMED_AXES = ("dataset", "network", "method")
T = TypeVar("T")


class CellKey(NamedTuple):
    """Which cell of the grid: ``settings`` are the values of the extra axes that belong to the method."""

    dataset: str
    network: str
    method: str
    settings: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return " / ".join([*self[:3], *(f"{axis}={value}" for axis, value in self.settings)])

    @property
    def names(self) -> dict[str, str]:
        """What it is, by the heading of a table; settings come without the method's name."""
        settings = " ".join(f"{axis.partition('.')[2]}={value}" for axis, value in self.settings)
        return {"data set": self.dataset, "network": self.network, "method": self.method, "settings": settings}


def method_name(label: str) -> str:
    """The method of a label: ``dkel@released`` is a preset or a variant of ``dkel``."""
    return label.partition("@")[0]


def suffix(label: str) -> str:
    """What a label adds to its method: ``@released``; "" for a method itself."""
    return label[len(method_name(label)) :]


def of_label(entries: Mapping[str, T], label: str) -> T | None:
    """What is said of a label: its own entry, else that of its suffix."""
    return entries.get(label, entries.get(suffix(label) or label))


def own_axes(axes: Axes, label: str) -> dict[str, tuple[Any, ...]]:
    """The extra axes that belong to the method of this label."""
    return {
        axis: values
        for axis, values in axes.items()
        if axis not in NAMED_AXES and axis.partition(".")[0] in ("method", method_name(label))
    }


def cell_keys(axes: Axes) -> Iterator[CellKey]:
    """All cells of the grid in its own order, the extra axes innermost."""
    for dataset, network, method in product(*(axes.get(axis, ("",)) for axis in NAMED_AXES)):
        extra = own_axes(axes, method)
        for values in product(*extra.values()):
            yield CellKey(dataset, network, method, tuple(sorted(zip(extra, values, strict=True))))


def _listed(value: Any) -> Any:
    """One value stands for a list of one."""
    return value if value is None or isinstance(value, list | tuple | dict) else [value]


def _some_once_each(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("is empty; name at least one")
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"{preview(value)} is listed twice; keep one")
    return values


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, list | dict):
        raise ValueError(f"must be a single value, not {preview(value)}")
    return value


def axis_values(info: ValidationInfo, axis: str) -> tuple[Any, ...] | None:
    """The grid's values on an axis, None where the grid is unknown or itself wrong there."""
    return info.context.get(axis) if info.context else None


def check_value(axis: str, value: Any, choices: tuple[Any, ...]) -> None:
    """ValueError where the value is not among the axis's."""
    if value not in choices:
        raise ValueError(f"grid.{axis} has no {preview(value)}; choose from: {', '.join(map(str, choices))}")


def _on(axis: str) -> AfterValidator:
    """Accept only values of this axis of the recipe's grid."""

    def check(value: str, info: ValidationInfo) -> str:
        choices = axis_values(info, axis)
        if choices is not None and value not in choices:
            raise ValueError(unknown(f"grid.{axis} has no", value, tuple(map(str, choices))))
        return value

    return AfterValidator(check)


def an_axis(value: str, info: ValidationInfo) -> str:
    """The name of an axis of the grid; ValueError for another."""
    axes = [*NAMED_AXES, *(axis for axis in info.context or () if axis not in NAMED_AXES)]
    if info.context and value not in axes:
        raise ValueError(unknown("the grid has no axis", value, axes))
    return value


def among_labels(value: str, info: ValidationInfo, *others: str) -> str:
    """A label of the grid, the suffix of some, or one of the ``others``; ValueError for anything else."""
    labels = axis_values(info, "method")
    choices = tuple(dict.fromkeys([*others, *(labels or ()), *filter(None, map(suffix, labels or ()))]))
    if labels is not None and value not in choices:
        raise ValueError(unknown("grid.method has no", value, choices))
    return value


def a_network(value: str) -> str:
    """The name of one network or of a pair of different ones; ValueError for anything else."""
    parts = value.split("+")
    if not all(parts) or len(parts) > 2:
        raise ValueError(f"{preview(value)} is no network; name one, or a pair as A+B")
    if len(set(parts)) < len(parts):
        raise ValueError(f"{preview(value)} is one network twice; write {preview(parts[0])}")
    return value


Several = Annotated[tuple[T, ...], BeforeValidator(_listed), AfterValidator(_some_once_each)]
Dataset = Annotated[str, _on("dataset")]
Network = Annotated[str, _on("network")]
Label = Annotated[str, _on("method")]
LabelOrSuffix = Annotated[str, AfterValidator(among_labels)]
NetworkName = Annotated[str, AfterValidator(a_network)]
Axis = Annotated[str, AfterValidator(an_axis)]
Scalar = Annotated[Any, AfterValidator(_scalar)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], AfterValidator(_some_once_each)]

"""What a recipe file may say. Names are checked against the recipe's own grid, which validation gets as its context.

Grid axes are ``dataset``, ``network``, ``method`` and any setting of a method, written ``<method>.<setting>``; such an
axis multiplies the cells of that method only, and ``method.<setting>`` those of all methods. A method's label may name
a preset, ``dkel@released``, or a variant that the recipe defines, ``dkel@no-init``.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from okdbench.config import DataSettings, Settings, TrainingSettings
from okdbench.recipe.claims import Claim
from okdbench.recipe.front import Front
from okdbench.recipe.problems import shown, unknown

Axes = Mapping[str, tuple[Any, ...]]
Metric = Literal["accuracy", "error"]
NAMED_AXES = ("dataset", "network", "method")
EPOCHS = "epoch"

_HEAD = re.compile(r"(?:mean|max)\([\w*?\[\]-]+\)|\w+")
_EPOCH = re.compile(r"last|best|last-[1-9][0-9]*")


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
            raise ValueError(f"{shown(value)} is listed twice; keep one")
    return values


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, list | dict):
        raise ValueError(f"must be a single value, not {shown(value)}")
    return value


def _axis_values(info: ValidationInfo, axis: str) -> tuple[Any, ...] | None:
    """The grid's values on an axis, None where the grid is unknown or itself wrong there."""
    return info.context.get(axis) if info.context else None


def _check_value(axis: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise ValueError(f"grid.{axis} has no {shown(value)}; choose from: {', '.join(map(str, choices))}")


def _on(axis: str) -> AfterValidator:
    """Accept only values of this axis of the recipe's grid."""

    def check(value: str, info: ValidationInfo) -> str:
        choices = _axis_values(info, axis)
        if choices is not None and value not in choices:
            raise ValueError(unknown(f"grid.{axis} has no", value, tuple(map(str, choices))))
        return value

    return AfterValidator(check)


def _an_axis(value: str, info: ValidationInfo) -> str:
    axes = [*NAMED_AXES, *(axis for axis in info.context or () if axis not in NAMED_AXES)]
    if info.context and value not in axes:
        raise ValueError(unknown("the grid has no axis", value, axes))
    return value


def _an_axis_or_the_epochs(value: str, info: ValidationInfo) -> str:
    return value if value == EPOCHS else _an_axis(value, info)


def _protocol_name(value: str, info: ValidationInfo) -> str:
    labels = _axis_values(info, "method")
    choices = ("default", *dict.fromkeys([*(labels or ()), *map(method_name, labels or ())]))
    if labels is not None and value not in choices:
        raise ValueError(unknown("grid.method has no", value, choices))
    return value


def _matching(pattern: re.Pattern[str], remedy: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"{shown(value)} is not understood; {remedy}")
        return value

    return AfterValidator(check)


T = TypeVar("T")
Several = Annotated[tuple[T, ...], BeforeValidator(_listed), AfterValidator(_some_once_each)]
Dataset = Annotated[str, _on("dataset")]
Network = Annotated[str, _on("network")]
Label = Annotated[str, _on("method")]
Axis = Annotated[str, AfterValidator(_an_axis)]
Scalar = Annotated[Any, AfterValidator(_scalar)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], AfterValidator(_some_once_each)]


class _WithSettings(Settings):
    """A mapping whose keys with a dot are settings of methods; they are gathered in ``settings``."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        dotted = {key: value for key, value in data.items() if isinstance(key, str) and "." in key}
        plain = {key: value for key, value in data.items() if key not in dotted}
        return {**plain, "<method>.<setting>": dotted} if dotted else plain


class Grid(_WithSettings):
    """The axes of the table; every combination is a cell."""

    dataset: Several[str]
    network: Several[str]
    method: Several[str]
    settings: dict[str, Several[Scalar]] = Field(default={}, alias="<method>.<setting>")

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """Values of all axes by name."""
        return {"dataset": self.dataset, "network": self.network, "method": self.method, **self.settings}


class When(Settings):
    """Which cells an override is for; what is left out matches all."""

    dataset: Several[Dataset] | None = None
    network: Several[Network] | None = None
    method: Several[Label] | None = None

    def matches(self, key: CellKey) -> bool:
        """Whether the cell is one of them."""
        return all(
            chosen is None or name in chosen
            for chosen, name in zip((self.dataset, self.network, self.method), key[:3], strict=True)
        )


class Override(Settings):
    """Settings of some cells, ``training.<key>``, ``data.<key>`` or ``<method>.<setting>``; later ones win."""

    when: When = When()
    set: dict[str, Any] = Field(min_length=1)


class LeftOut(Settings):
    """Cells of the grid that are not trained, and why; the numbers printed for them are shown all the same."""

    when: When
    why: str


class TeacherRun(Settings):
    """The run whose trained network teaches the runs of a method; it is trained once and shared.

    It has the data set, the training settings and the overrides of its own cell; ``seed`` is a number, or ``same`` for
    the seed of the run that it teaches.
    """

    network: str
    method: str
    seed: Annotated[int, Field(ge=0)] | Literal["same"] = "same"


class Protocol(Settings):
    """Which head and epoch make the reported number of a run, and which statistic of the runs makes the cell.

    ``head``: a head's name, ``mean(PATTERN)`` or ``max(PATTERN)`` of the heads that match, or ``deployed`` for the one
    that the method would ship. ``epoch``: ``last``, ``best`` or ``last-K``, the mean of the last K epochs.
    ``statistic``: the ``mean`` over seeds, or the ``collapse-rate``: how many of the runs ended collapsed.
    """

    head: Annotated[str, _matching(_HEAD, "write a head, mean(PATTERN) or max(PATTERN)")] = "deployed"
    epoch: Annotated[str, _matching(_EPOCH, "write last, best or last-K, for instance last-10")]
    statistic: Literal["mean", "collapse-rate"] = "mean"


def _homeless(places: list[str], roles: str, info: ValidationInfo) -> None:
    """ValueError where an axis has two places, or several values and none."""
    if len(set(places)) < len(places):
        raise ValueError(f"{roles.replace(' or ', ' and ')} must be different axes")
    homeless = [axis for axis, values in (info.context or {}).items() if len(values) > 1 and axis not in places]
    if homeless:
        raise ValueError(f"grid.{homeless[0]} has several values and no place; make it {roles}")


class Table(Settings):
    """The layout: which axis is what, and the names that the paper prints."""

    rows: Axis = "network"
    columns: Axis = "method"
    panels: Axis | None = None
    reference: Label | None = Field(default=None, description="method to which differences, paired by seed, are shown")
    names: dict[Annotated[str, BeforeValidator(str)], str] = Field(
        default={}, description="what the paper calls a value or an axis of the grid"
    )
    caption: str = ""

    @model_validator(mode="after")
    def _every_axis_has_its_place(self, info: ValidationInfo) -> "Table":
        _homeless([self.rows, self.columns, *([self.panels] if self.panels else [])], "rows, columns or panels", info)
        return self


class Figure(Settings):
    """What is drawn of the cells, with the names of the table: accuracy over the epochs, or each number over an axis.

    There is a line for each value of ``lines`` and a panel for each combination of values of ``panels``. Over the
    epochs, ``reference`` is the value of ``lines`` from which the differences, paired by seed, are drawn below.
    """

    x: Annotated[str, AfterValidator(_an_axis_or_the_epochs)] = EPOCHS
    lines: Axis | None = None
    panels: Several[Axis] | None = None
    reference: Scalar | None = None
    label: str = Field(default="", description="what x is, where its name in the table is too short")

    @model_validator(mode="after")
    def _every_axis_has_its_place(self, info: ValidationInfo) -> "Figure":
        _homeless([self.x, *([self.lines] if self.lines else []), *(self.panels or ())], "x, lines or panels", info)
        if self.reference is not None:
            if self.lines is None or self.x != EPOCHS:
                raise ValueError("reference is one of the lines over the epochs; add lines and x: epoch, or remove it")
            _check_value(self.lines, self.reference, _axis_values(info, self.lines) or (self.reference,))
        return self


class ReportedCell(_WithSettings):
    """The number printed for one cell, in percent; ``metric`` and ``provenance`` where they differ from the others'."""

    dataset: Dataset
    network: Network
    method: Label
    settings: dict[str, Scalar] = Field(default={}, alias="<method>.<setting>")
    mean: float = Field(ge=0, le=100)
    std: float | None = Field(default=None, ge=0)
    n: int | None = Field(default=None, gt=0, description="repeats behind the mean, where stated")
    metric: Metric | None = None
    provenance: str | None = None
    trust: Literal["high", "low"] | None = None
    note: str = ""

    @model_validator(mode="after")
    def _on_the_grid(self, info: ValidationInfo) -> "ReportedCell":
        for axis, values in own_axes(info.context or {}, self.method).items():
            if axis not in self.settings:
                raise ValueError(f"{axis} is missing; say which of {', '.join(map(str, values))} the number is for")
            _check_value(axis, self.settings[axis], values)
        foreign = set(self.settings) - set(own_axes(info.context, self.method)) if info.context else ()
        if foreign:
            raise ValueError(f"{min(foreign)} is no axis of {self.method} in the grid; remove it")
        return self

    @property
    def key(self) -> CellKey:
        """The cell that the number is for."""
        return CellKey(self.dataset, self.network, self.method, tuple(sorted(self.settings.items())))


class ReportedNumbers(Settings):
    """The numbers that the source prints."""

    metric: Metric = "accuracy"
    provenance: str = ""
    cells: tuple[ReportedCell, ...]

    @model_validator(mode="after")
    def _once_each(self) -> "ReportedNumbers":
        seen: dict[CellKey, int] = {}
        for index, cell in enumerate(self.cells):
            if cell.key in seen:
                raise ValueError(f"cells[{seen[cell.key]}] and cells[{index}] are both {cell.key}; keep one")
            seen[cell.key] = index
        return self


class SmokeGrid(_WithSettings):
    """The part of the grid that a smoke run trains; what is left out stays whole."""

    dataset: Several[Dataset] | None = None
    network: Several[Network] | None = None
    method: Several[Label] | None = None
    settings: dict[Axis, Several[Scalar]] = Field(default={}, alias="<method>.<setting>")

    @model_validator(mode="after")
    def _values_are_of_the_grid(self, info: ValidationInfo) -> "SmokeGrid":
        for axis, values in self.settings.items():
            for value in values:
                _check_value(axis, value, _axis_values(info, axis) or values)
        return self

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """Values by axis, of the axes that are narrowed."""
        named = {"dataset": self.dataset, "network": self.network, "method": self.method}
        return {axis: values for axis, values in {**named, **self.settings}.items() if values}


class Smoke(Settings):
    """A run of seconds that shows that everything fits together; ``seeds``: the recipe's first where none are given."""

    grid: SmokeGrid = SmokeGrid()
    seeds: Seeds | None = None
    set: dict[str, Any] = Field(
        default={"training.epochs": 1, "training.batch_size": 32, "data.subset": 64, "data.test_subset": 64}
    )


class Recipe(Front):
    """One published table as data."""

    kind: Literal["training"]
    grid: Grid
    seeds: Seeds
    training: TrainingSettings
    data: DataSettings = DataSettings()
    overrides: tuple[Override, ...] = ()
    variants: dict[Label, dict[str, Any]] = Field(default={}, description="settings by label, on top of the overrides")
    left_out: tuple[LeftOut, ...] = ()
    teachers: dict[str, TeacherRun] = Field(default={}, description="by method, for those that need a trained teacher")
    protocol: dict[Annotated[str, AfterValidator(_protocol_name)], Protocol] = Field(default={})
    table: Table
    figure: Figure | None = None
    reported: ReportedNumbers | None = None
    claims: tuple[Claim, ...] = ()
    margin: float = Field(default=0.3, ge=0, description="points of accuracy within which a mean counts as reproduced")
    smoke: Smoke = Smoke()

    @field_validator("reported")
    @classmethod
    def _numbers_have_a_source(cls, value: ReportedNumbers | None, info: ValidationInfo) -> ReportedNumbers | None:
        if value and info.data.get("source", value) is None:
            raise ValueError("numbers need a source; add source: {paper, year, table}")
        return value

    def protocol_of(self, label: str) -> Protocol:
        """The protocol of a label, else of its method, else the default (the deployed head at the last epoch)."""
        for name in (label, method_name(label), "default"):
            if name in self.protocol:
                return self.protocol[name]
        return Protocol(epoch="last")

"""The schema of a table's recipe; names are checked against its own grid, see `okdbench.recipe.axes`."""

import re
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from okdbench.config import DataSettings, StrictModel, TrainingSettings
from okdbench.networks import NetworkName
from okdbench.recipe.axes import (
    DEFAULT_READING,
    READING,
    Axis,
    CellKey,
    DatasetOnGrid,
    LabelOnGrid,
    LabelOrSuffix,
    NetworkOnGrid,
    Scalar,
    Seeds,
    Several,
    TrainedLabel,
    TrainedNetwork,
    among_labels,
    axis_values,
    check_value,
    own_axes,
)
from okdbench.recipe.claims import Claim
from okdbench.recipe.header import RecipeHeader
from okdbench.recipe.label import Label
from okdbench.recipe.layout import Figure, Table
from okdbench.recipe.problems import preview
from okdbench.recipe.resolve import SECTIONS, Resolver, Sections
from okdbench.runs.heads import DEPLOYED, Head

Metric = Literal["accuracy", "error"]
NETWORK = "network"
"""The one setting of an override without a dot: the network that a cell is trained on in place of the printed one."""

_EPOCH = re.compile(r"last|best|best-on-test|last-[1-9][0-9]*")


def _protocol_name(value: str, info: ValidationInfo) -> Label:
    return among_labels(value, info, "default", *(Label(label).method for label in axis_values(info, "method") or ()))


def _an_epoch(value: str) -> str:
    if not _EPOCH.fullmatch(value):
        raise ValueError(f"{preview(value)} is not understood; write last, best, best-on-test or last-K (last-10)")
    return value


def _a_reading(value: str) -> str:
    if not re.fullmatch(r"\w[\w-]*", value) or value == DEFAULT_READING:
        raise ValueError(f'"{value}" cannot name a reading; use letters, digits and hyphens, and not "default"')
    return value


EpochRule = Annotated[str, AfterValidator(_an_epoch)]


class _WithSettings(StrictModel):
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
    network: Several[NetworkName]
    method: Several[Label]
    settings: dict[str, Several[Scalar]] = Field(default={}, alias="<method>.<setting>")

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """Values of all axes by name."""
        return {"dataset": self.dataset, "network": self.network, "method": self.method, **self.settings}


class When(StrictModel):
    """Which cells an override is for, teachers included; what is left out matches all."""

    dataset: Several[DatasetOnGrid] | None = None
    network: Several[TrainedNetwork] | None = None
    method: Several[TrainedLabel] | None = None

    def matches(self, key: CellKey) -> bool:
        """Return whether the cell is one of them."""
        return all(
            chosen is None or name in chosen
            for chosen, name in zip((self.dataset, self.network, self.method), key[:3], strict=True)
        )


class Override(StrictModel):
    """Settings of some cells, ``training.<key>``, ``data.<key>`` or ``<method>.<setting>``; later ones win.

    ``network`` trains them on a network other than the one whose name the source prints.
    """

    when: When = When()
    set: dict[str, Any] = Field(min_length=1)

    @field_validator("set")
    @classmethod
    def _a_network_is_a_name(cls, value: dict[str, Any]) -> dict[str, Any]:
        if NETWORK in value:
            if not isinstance(value[NETWORK], str):
                raise ValueError(f"{NETWORK} must be text, not {preview(value[NETWORK])}")
            NetworkName(value[NETWORK])
        return value


class LeftOut(StrictModel):
    """Cells of the grid that are not trained, and why; the numbers printed for them are still shown."""

    when: When
    why: str


class TeacherRun(StrictModel):
    """The run whose trained network teaches the runs of a method; it is trained once and shared.

    It has the data set, the training settings and the overrides of its own cell; ``seed`` is a number, or ``same`` for
    the seed of the run that it teaches.
    """

    network: NetworkName
    method: Label
    seed: Annotated[int, Field(ge=0)] | Literal["same"] = "same"


class Protocol(StrictModel):
    """Which head and epoch make the reported number of a run, and which statistic of the runs makes the cell.

    ``head``: a head's name, ``mean(PATTERN)`` or ``max(PATTERN)`` of the heads that match, or ``deployed`` for the one
    that the method deploys; ``HEAD@ema`` is its moving average (`TrainingSettings.ema`). ``epoch``: ``last``, ``best``
    or ``last-K``, the mean of the last K epochs. ``statistic``: the ``mean`` over seeds, or the ``collapse-rate``: how
    many of the runs ended collapsed.
    """

    head: Head = Head(DEPLOYED)
    epoch: EpochRule
    statistic: Literal["mean", "collapse-rate"] = "mean"


class Reading(StrictModel):
    """One more number read from the same runs: what differs from the protocol.

    ``method``: the labels that have this reading; all of them where it is left out. ``averaged``: the moving average of
    the weights of whichever head is read.
    """

    method: Several[LabelOnGrid] | None = None
    head: Head | None = None
    epoch: EpochRule | None = None
    averaged: bool = False

    def apply(self, protocol: Protocol) -> Protocol:
        """Return the protocol of a cell under this reading."""
        head = self.head or protocol.head
        head = head.of_average() if self.averaged else head
        return protocol.model_copy(update={"head": head, "epoch": self.epoch or protocol.epoch})


class ReportedCell(_WithSettings):
    """The number printed for one cell, in percent; ``metric`` and ``provenance`` where they differ from the others'."""

    dataset: DatasetOnGrid
    network: NetworkOnGrid
    method: LabelOnGrid
    settings: dict[str, Scalar] = Field(default={}, alias="<method>.<setting>")
    reading: str = DEFAULT_READING
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
            check_value(axis, self.settings[axis], values)
        foreign = set(self.settings) - set(own_axes(info.context, self.method)) if info.context else ()
        if foreign:
            raise ValueError(f"{min(foreign)} is not an axis of {self.method} in the grid; remove it")
        check_value(READING, self.reading, axis_values(info, READING) or (DEFAULT_READING,))
        return self

    @property
    def key(self) -> CellKey:
        """The cell that the number is for."""
        return CellKey(self.dataset, self.network, self.method, tuple(sorted(self.settings.items())), self.reading)


class ReportedNumbers(StrictModel):
    """The numbers that the source prints."""

    metric: Metric = "accuracy"
    provenance: str = ""
    cells: tuple[ReportedCell, ...]

    @cached_property
    def by_key(self) -> dict[CellKey, ReportedCell]:
        """The numbers by the cell that each is for."""
        return {cell.key: cell for cell in self.cells}

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

    dataset: Several[DatasetOnGrid] | None = None
    network: Several[NetworkOnGrid] | None = None
    method: Several[LabelOnGrid] | None = None
    settings: dict[Axis, Several[Scalar]] = Field(default={}, alias="<method>.<setting>")

    @model_validator(mode="after")
    def _values_are_of_the_grid(self, info: ValidationInfo) -> "SmokeGrid":
        for axis, values in self.settings.items():
            for value in values:
                check_value(axis, value, axis_values(info, axis) or values)
        return self

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """Values by axis, of the axes that are narrowed."""
        named = {"dataset": self.dataset, "network": self.network, "method": self.method}
        return {axis: values for axis, values in {**named, **self.settings}.items() if values}


class Smoke(StrictModel):
    """A run of a few seconds that tests everything together; ``seeds``: the recipe's first where none are given."""

    grid: SmokeGrid = SmokeGrid()
    seeds: Seeds | None = None
    set: dict[str, Any] = Field(
        default={"training.epochs": 1, "training.batch_size": 32, "data.subset": 64, "data.test_subset": 64}
    )


class Recipe(RecipeHeader):
    """One published table as data; ``sections`` are those whose settings may differ from cell to cell."""

    sections: ClassVar[Sections] = SECTIONS
    smoke_type: ClassVar[type[Smoke]] = Smoke
    grid: Grid
    seeds: Seeds
    training: TrainingSettings
    data: DataSettings = DataSettings()
    overrides: tuple[Override, ...] = ()
    variants: dict[LabelOrSuffix, dict[str, Any]] = Field(
        default={}, description="settings by label, on top of the overrides"
    )
    left_out: tuple[LeftOut, ...] = ()
    teachers: dict[str, TeacherRun] = Field(default={}, description="by method, for those that need a trained teacher")
    protocol: dict[Annotated[str, AfterValidator(_protocol_name)], Protocol] = Field(default={})
    readings: dict[Annotated[str, AfterValidator(_a_reading)], Reading] = Field(
        default={}, description="further numbers from the same runs, by name"
    )
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

    _resolver: Resolver = PrivateAttr()

    def resolved_by(self, resolver: Resolver) -> Self:
        """Return the same recipe, whose cells are resolved by ``resolver``, which has already resolved most of them."""
        self._resolver = resolver
        return self

    @property
    def resolver(self) -> Resolver:
        """Resolves the settings of cells and caches the results."""
        return self._resolver

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The axes of the grid, and the readings, of which there are several; formulas of claims name their values."""
        readings = {READING: (DEFAULT_READING, *self.readings)} if self.readings else {}
        return {**self.grid.axes, **readings}

    def protocol_of(self, key: CellKey) -> Protocol:
        """Return the protocol of a cell (its label's, suffix's or method's, or the default) under its reading."""
        names = (key.method, Label(key.method.method), Label("default"))
        found = next(filter(None, (name.entry(self.protocol) for name in names)), Protocol(epoch="last"))
        return found if key.reading == DEFAULT_READING else self.readings[key.reading].apply(found)

    def readings_of(self, label: Label) -> list[str]:
        """Return the readings of a label's cells, the protocol's own first."""
        own = (name for name, each in self.readings.items() if each.method is None or label in each.method)
        return [DEFAULT_READING, *own]

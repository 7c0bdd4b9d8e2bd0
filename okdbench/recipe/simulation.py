"""Recipes of kind ``simulation``: readings of a paper's description, each of them a cell with one run."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from okdbench.config import CLAIMS, SimulationSettings, StrictModel
from okdbench.recipe.header import RecipeHeader
from okdbench.recipe.problems import unknown


def _reading_name(value: str) -> str:
    if not re.fullmatch(r"\w[\w-]*", value):
        raise ValueError("the name of a reading becomes a folder's; write it in letters, digits, - and _")
    return value


def _claim_name(value: str) -> str:
    if value not in CLAIMS:
        raise ValueError(unknown("the simulation cannot judge", value, CLAIMS))
    return value


def _known(value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    readings = info.context.get("readings") if info.context else None
    for name in value:
        if isinstance(readings, dict) and name not in readings:
            raise ValueError(unknown("there is no reading", name, tuple(map(str, readings))))
    return value


SomeReadings = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_known)]


class SimulationSmoke(StrictModel):
    """A run of seconds: the recipe's first reading where ``readings`` names none, with the settings ``set``."""

    readings: SomeReadings | None = None
    set: SimulationSettings = SimulationSettings(trials=100)


class SimulationFigure(StrictModel):
    """Which readings are drawn, each in a panel of its own."""

    readings: SomeReadings


class SimulationRecipe(RecipeHeader):
    """A published simulation as data; ``claims`` are the paper's statements by the names that the study knows."""

    kind: Literal["simulation"]
    readings: dict[Annotated[str, AfterValidator(_reading_name)], SimulationSettings] = Field(min_length=1)
    claims: dict[Annotated[str, AfterValidator(_claim_name)], str] = Field(default={})
    figure: SimulationFigure | None = None
    smoke: SimulationSmoke = SimulationSmoke()

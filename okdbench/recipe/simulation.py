"""Recipes of kind ``simulation``: variants of a paper's description, each of them a cell with one run."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from okdbench.config import CLAIMS, SimulationSettings, StrictModel
from okdbench.recipe.header import RecipeHeader
from okdbench.recipe.problems import unknown


def _variant_name(value: str) -> str:
    if not re.fullmatch(r"\w[\w-]*", value):
        raise ValueError("the name of a variant becomes a folder's; write it in letters, digits, - and _")
    return value


def _claim_name(value: str) -> str:
    if value not in CLAIMS:
        raise ValueError(unknown("the simulation cannot judge", value, CLAIMS))
    return value


def _known(value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    raw = info.context or {}
    variants = raw.get("variants", raw.get("readings"))
    for name in value:
        if isinstance(variants, dict) and name not in variants:
            raise ValueError(unknown("there is no variant", name, tuple(map(str, variants))))
    return value


SomeVariants = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_known)]


class _WithVariants(StrictModel):
    """A mapping whose ``variants`` may stand under their first name, ``readings``."""

    @model_validator(mode="before")
    @classmethod
    def _first_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "readings" in data and "variants" not in data:
            return {("variants" if key == "readings" else key): value for key, value in data.items()}
        return data


class SimulationSmoke(_WithVariants):
    """A run of seconds: the recipe's first variant where ``variants`` names none, with the settings ``set``."""

    variants: SomeVariants | None = None
    set: SimulationSettings = SimulationSettings(trials=100)


class SimulationFigure(_WithVariants):
    """Which variants are drawn, each in a panel of its own."""

    variants: SomeVariants


class SimulationRecipe(_WithVariants, RecipeHeader):
    """A published simulation as data; ``claims`` are the paper's statements by the names that the study knows."""

    kind: Literal["simulation"]
    variants: dict[Annotated[str, AfterValidator(_variant_name)], SimulationSettings] = Field(min_length=1)
    claims: dict[Annotated[str, AfterValidator(_claim_name)], str] = Field(default={})
    figure: SimulationFigure | None = None
    smoke: SimulationSmoke = SimulationSmoke()

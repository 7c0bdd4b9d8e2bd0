"""Runs of kind ``simulation``: from a configuration to its record, and back from disk."""

import time
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, field_validator

from okdbench.config import CLAIMS, SimulationConfig
from okdbench.runs.records import DoneRecord, State
from okdbench.studies.monte_carlo import METHODS, QUANTILES, ClaimOutcome, Curve, judge, simulate

StoredNumbers = tuple[float, ...]
DIGITS = 7
"""Significant digits of a stored number; the Monte Carlo error of 10,000 trials is in the third."""


class StoredDifference(BaseModel):
    """A gap minus another one of the same trial, [epochs]."""

    mean: StoredNumbers
    standard_error: StoredNumbers


class StoredCurve(BaseModel):
    """`Curve` as JSON: the gap of one method over trials, [epochs]; ``quantiles`` by their level."""

    mean: StoredNumbers
    standard_error: StoredNumbers
    quantiles: dict[str, StoredNumbers]
    differences: dict[str, StoredDifference]
    convergence_epoch: int | None

    @classmethod
    def of(cls, curve: Curve) -> "StoredCurve":
        """Return the curve in the form to be stored."""
        return cls(
            mean=_rounded(curve.mean),
            standard_error=_rounded(curve.standard_error),
            quantiles={f"{level:g}": _rounded(row) for level, row in zip(QUANTILES, curve.quantiles, strict=True)},
            differences={
                other: StoredDifference(mean=_rounded(mean), standard_error=_rounded(error))
                for other, (mean, error) in curve.differences.items()
            },
            convergence_epoch=curve.convergence_epoch,
        )


class SimulationRecord(DoneRecord):
    """The record of a simulation: a curve for each method, and which of the paper's claims hold."""

    status: Literal[State.finished]
    config: SimulationConfig
    curves: dict[str, StoredCurve]
    claims: tuple[ClaimOutcome, ...]

    @field_validator("curves")
    @classmethod
    def _of_every_method(cls, value: dict[str, StoredCurve]) -> dict[str, StoredCurve]:
        if set(value) != set(METHODS):
            raise ValueError(f"must be of {', '.join(METHODS)}")
        return {method: value[method] for method in METHODS}

    @field_validator("claims")
    @classmethod
    def _every_claim(cls, value: tuple[ClaimOutcome, ...]) -> tuple[ClaimOutcome, ...]:
        if tuple(claim.name for claim in value) != CLAIMS:
            raise ValueError(f"must be {', '.join(CLAIMS)}")
        return value


def perform(config: SimulationConfig, environment: Mapping[str, Any]) -> SimulationRecord:
    """Simulate; ``environment`` says where."""
    began = time.monotonic()
    curves = simulate(config.settings)
    return SimulationRecord(
        id=config.id,
        status=State.finished,
        config=config,
        curves={method: StoredCurve.of(curve) for method, curve in curves.items()},
        claims=tuple(judge(curves)),
        environment=dict(environment),
        wall_seconds=time.monotonic() - began,
    )


def _rounded(values: ArrayLike) -> StoredNumbers:
    return tuple(float(f"{value:.{DIGITS}g}") for value in np.asarray(values))

"""Recipes of kind ``probe``: a table whose numbers are those of linear classifiers on features of trained networks.

The grid's data sets are those that the classifiers learn; ``training`` and ``data`` say how the networks are trained,
on the data set ``probe.source``.
"""

from typing import Any, ClassVar

from pydantic import Field

from okdbench.recipe.resolve import SECTIONS, Sections
from okdbench.recipe.schema import Recipe, Smoke
from okdbench.runs.probe import ProbeSettings


class ProbeSmoke(Smoke):
    """A run of a few seconds, of networks and classifiers."""

    set: dict[str, Any] = Field(
        default={
            **Smoke().set,
            "probe.training.epochs": 1,
            "probe.data.subset": 64,
            "probe.data.test_subset": 64,
        }
    )


class ProbeRecipe(Recipe):
    """One table of linear probes as data."""

    sections: ClassVar[Sections] = {**SECTIONS, "probe": ProbeSettings}
    smoke_type: ClassVar[type[Smoke]] = ProbeSmoke
    probe: ProbeSettings = ProbeSettings()
    smoke: Smoke = ProbeSmoke()

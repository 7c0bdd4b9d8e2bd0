"""The variants of a simulation as cells, each with one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from okdbench.config import SimulationConfig, SimulationSettings
from okdbench.plan.describe import assignments
from okdbench.plan.selection import SHORTHANDS, Selection, as_option
from okdbench.recipe.problems import Problem, raise_if_any, translate_errors
from okdbench.recipe.simulation import SimulationRecipe


@dataclass(frozen=True)
class SimulationRun:
    """The simulation of one variant."""

    config: SimulationConfig

    @property
    def id(self) -> str:
        """The hash that identifies the run."""
        return self.config.id

    @property
    def seed(self) -> int:
        """The seed of all its random numbers."""
        return self.config.settings.seed

    @property
    def names(self) -> dict[str, str]:
        """What it simulates, keyed by table heading."""
        return {"variant": self.config.name}

    @property
    def title(self) -> str:
        """The run in one line."""
        return f"variant {self.config.name}"

    def resolved(self) -> dict[str, Any]:
        """Id, folder and configuration."""
        return {"id": self.id, "folder": self.config.folder, **self.config.model_dump(mode="json")}


@dataclass(frozen=True)
class SimulationCell:
    """One variant with its run; ``changed`` lists what differs from the recipe, such as ``trials=100``."""

    name: str
    changed: tuple[str, ...]
    runs: tuple[SimulationRun, ...]
    unavailable: None = None
    missing: None = None

    @property
    def facts(self) -> dict[str, str]:
        """Which cell this is, for programs."""
        return {"variant": self.name}

    def described(self) -> dict[str, str]:
        """Return the same as `facts`."""
        return self.facts


@dataclass(frozen=True)
class SimulationPlan:
    """A recipe's selected variants, in its order."""

    recipe: SimulationRecipe
    selection: Selection
    cells: tuple[SimulationCell, ...]

    @property
    def runs(self) -> tuple[SimulationRun, ...]:
        """The runs of all cells."""
        return tuple(run for cell in self.cells for run in cell.runs)

    def description(self) -> list[tuple[str, str]]:
        """Return the variants and the paper's claims."""
        lines = []
        for name, variant in self.recipe.variants.items():
            settings = assignments({key: getattr(variant, key) for key in sorted(variant.model_fields_set)})
            lines.append(("variant", f"{name}: {settings or 'all settings at their defaults'}"))
        return [*lines, *(("claim", statement) for statement in self.recipe.claims.values())]

    def costs(self) -> tuple[()]:
        """Empty: no network is trained."""
        return ()


def expand_simulation(recipe: SimulationRecipe, selection: Selection) -> SimulationPlan:
    """Return the variants to simulate; UsageError, one line for each mistake in the selection."""
    of_training = [key for key in SHORTHANDS if key in selection.settings]
    changes, problems = _changes({k: value for k, value in selection.settings.items() if k not in of_training})
    for option, names in (
        ("--dataset", selection.datasets),
        ("--network", selection.networks),
        ("--method", selection.methods),
        ("--reading", selection.readings),
    ):
        what = f"{recipe.name} is a simulation, which has variants and no {option[2:]}; leave the option out"
        problems += [Problem((f"{option} {name}",), what) for name in names]
    shorthands = [("--seed", seed) for seed in selection.seeds]
    shorthands += [(SHORTHANDS[key], selection.settings[key]) for key in of_training]
    for option, value in shorthands:
        own = option[2:] in SimulationSettings.model_fields
        instead = f"write --set {option[2:]}={value}" if own else f"it has no {option[2:]}; leave the option out"
        problems.append(Problem((f"{option} {value}",), f"{recipe.name} is a simulation; {instead}"))
    raise_if_any(problems)
    smoke = recipe.smoke
    names = (smoke.variants or tuple(recipe.variants)[:1]) if selection.smoke else tuple(recipe.variants)
    layers = (smoke.set, changes) if selection.smoke else (changes,)
    return SimulationPlan(recipe, selection, tuple(_cell(name, recipe.variants[name], layers) for name in names))


def _changes(settings: Mapping[str, Any]) -> tuple[SimulationSettings, list[Problem]]:
    """Return the changed settings as a variant that sets only those, and what is wrong with them."""
    try:
        return SimulationSettings.model_validate(dict(settings)), []
    except ValidationError as error:
        problems = translate_errors(error, SimulationSettings)
    places = {key: as_option(key, value) for key, value in settings.items()}
    return SimulationSettings(), [Problem((places[str(where[0])], *where[1:]), what) for where, what in problems]


def _cell(name: str, variant: SimulationSettings, layers: tuple[SimulationSettings, ...]) -> SimulationCell:
    """Return a variant with what each layer sets laid over it; the last one wins."""
    updates = {key: getattr(layer, key) for layer in layers for key in layer.model_fields_set}
    actual = variant.model_copy(update=updates)
    changed = tuple(f"{key}={value}" for key, value in sorted(updates.items()) if value != getattr(variant, key))
    return SimulationCell(name, changed, (SimulationRun(SimulationConfig(name=name, settings=actual)),))

"""From layers of dotted settings to the resolved configuration of a cell, and from a bad value back to its place in the
file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, cast

from pydantic import ValidationError

from okdbench import methods
from okdbench.config import DataSettings, StrictModel, TrainingSettings
from okdbench.data import PRESETS
from okdbench.recipe.label import Label
from okdbench.recipe.problems import Problem, Where, translate_errors, unknown

Sections = Mapping[str, type[StrictModel]]
"""The sections of a recipe whose values are settings, by name."""
SECTIONS: Sections = {"training": TrainingSettings, "data": DataSettings}
"""Those that every table has."""


@dataclass(frozen=True)
class DottedSetting:
    """A dotted key, its value, and where the user wrote it."""

    key: str
    value: Any
    where: Where

    @property
    def section(self) -> str:
        """``training``, ``data``, ``network`` or a method's name."""
        return self.key.partition(".")[0]


@dataclass(frozen=True)
class Resolved:
    """A cell's settings, presets and defaults filled in; ``method`` is None if the method does not exist yet."""

    sections: Mapping[str, StrictModel]
    method: "methods.MethodConfig | None"

    @property
    def training(self) -> TrainingSettings:
        """How the networks are trained."""
        return cast(TrainingSettings, self.sections["training"])

    @property
    def data(self) -> DataSettings:
        """On which images."""
        return cast(DataSettings, self.sections["data"])

    def flat(self, name: str) -> dict[str, Any]:
        """Return every single value by its dotted key; the method's keys begin with ``name``."""
        sections = {**self.sections, **({name: self.method} if self.method else {})}
        dumps = {section: model.model_dump(mode="json") for section, model in sections.items()}
        return dict(leaf for section, dump in dumps.items() for leaf in _leaves(dump, section))


class Resolver:
    """Lays dotted settings over a recipe's sections, as written in the file; equal layers are resolved once.

    A section that is not a mapping is passed over: its own mistake is reported elsewhere.
    """

    def __init__(self, base: Mapping[str, Any], sections: Sections = SECTIONS) -> None:
        self._base, self._sections = base, sections
        self._known: dict[str, tuple[Resolved | None, list[Problem]]] = {}

    def __call__(self, label: Label, settings: Sequence[DottedSetting]) -> tuple[Resolved | None, list[Problem]]:
        """Return the configuration of a cell, or what is wrong with it; later settings win.

        The keys of ``settings`` must have passed `key_problem`.
        """
        own = [setting for setting in settings if setting.section in (*self._sections, label.method)]
        layers = json.dumps([label, *((each.key, each.value, each.where) for each in own)], default=repr)
        if layers not in self._known:
            self._known[layers] = self._resolve(label, own)
        return self._known[layers]

    def _resolve(self, label: Label, settings: Sequence[DottedSetting]) -> tuple[Resolved | None, list[Problem]]:
        problems: list[Problem] = []
        found: dict[str, StrictModel] = {}
        for section, model in self._sections.items():
            if isinstance(self._base[section], Mapping):
                own = [setting for setting in settings if setting.section == section]
                resolved, more = _section(section, model, self._base[section], own)
                found |= {section: resolved} if resolved else {}
                problems += more
        config, more = _method(label, [setting for setting in settings if setting.section == label.method])
        problems += more
        if problems or len(found) < len(self._sections):
            return None, problems
        return Resolved(found, config), []


def _section(
    section: str, model: type[StrictModel], base: Mapping[str, Any], settings: Sequence[DottedSetting]
) -> tuple[StrictModel | None, list[Problem]]:
    """Apply settings to one section of the file; mistakes of the section itself are reported there."""
    resolved, problems = _checked(model, _merged(base, settings))
    own = set(_checked(model, base)[1]) if problems else set()
    return resolved, [
        Problem((section, *problem.where), problem.what) if problem in own else _blame(section, problem, settings)
        for problem in problems
    ]


def _checked(model: type[StrictModel], value: Any) -> tuple[StrictModel | None, list[Problem]]:
    try:
        resolved = model.model_validate(value)
    except ValidationError as error:
        return None, translate_errors(error, model)
    where: Where
    where, images = (
        ((), resolved) if isinstance(resolved, DataSettings) else (("data",), getattr(resolved, "data", None))
    )
    if isinstance(images, DataSettings) and images.normalisation not in PRESETS:
        what = unknown("there is no preset", images.normalisation, tuple(PRESETS))
        return None, [Problem((*where, "normalisation"), what)]
    return resolved, []


def _method(label: Label, settings: Sequence[DottedSetting]) -> "tuple[methods.MethodConfig | None, list[Problem]]":
    """Return the method's own settings; None and no problem where the method does not exist yet."""
    name = label.method
    if name not in methods.available():
        return None, []
    presets = [setting for setting in settings if setting.key == f"{name}.preset"]
    model = methods.get(name).Config
    for setting in presets[::-1]:
        if str(setting.value) not in model.presets:
            what = unknown(f"{name} has no preset", str(setting.value), tuple(model.presets))
            return None, [Problem(setting.where, what)]
    if len(presets) > 1 and any(setting.where[:2] == ("grid", "method") for setting in presets):
        variant = f"variants: {{{name}@mine: {{preset: {label.variant}}}}}"
        what = f'the label "{label}" names a preset already; remove one of the two, or name a variant: {variant}'
        return None, [Problem(presets[-1].where, what)]
    try:
        return methods.configure(name, _merged({}, settings)), []
    except ValidationError as error:
        return None, [_blame(name, problem, settings) for problem in translate_errors(error, model)]


def _merged(base: Mapping[str, Any], settings: Iterable[DottedSetting]) -> dict[str, Any]:
    """``base`` with the settings laid over it, each at its dotted key without the section."""
    merged = deepcopy(dict(base))
    for setting in settings:
        *path, last = setting.key.split(".")[1:]
        place = merged
        for part in path:
            if not isinstance(place.get(part), dict):
                place[part] = {}
            place = place[part]
        place[last] = deepcopy(setting.value)
    return merged


def _blame(section: str, problem: Problem, settings: Sequence[DottedSetting]) -> Problem:
    """Return the problem at the setting that caused it: the last of those nearest to the offending value."""
    bad = (section, *map(str, problem.where))

    def nearness(setting: DottedSetting) -> int:
        equal = (mine == theirs for mine, theirs in zip(setting.key.split("."), bad, strict=False))
        return sum(takewhile(bool, equal))

    culprit = max(reversed(settings), key=nearness)
    near, length = nearness(culprit), culprit.key.count(".") + 1
    if near == length:
        return Problem((*culprit.where, *problem.where[length - 1 :]), problem.what)
    if near == len(bad):
        return Problem(culprit.where, problem.what)
    parent = ".".join(bad[:-1])
    return Problem(culprit.where, f"clashes with {'.'.join(bad)} ({problem.what}); set {parent} as a whole")


def _leaves(value: Any, path: str) -> Iterable[tuple[str, Any]]:
    """Return the single values below nested mappings with their dotted keys."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}")
    else:
        yield path, value

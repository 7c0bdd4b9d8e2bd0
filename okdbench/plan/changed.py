"""Runs in a recipe's folder whose settings differ from the recipe's, and the options that select them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from okdbench import methods
from okdbench.config import LearningConfig
from okdbench.errors import UsageError
from okdbench.plan import expand
from okdbench.plan.selection import Selection
from okdbench.recipe.header import RecipeHeader
from okdbench.recipe.schema import Recipe
from okdbench.runs.folder import CONFIG, RunFolder


@dataclass(frozen=True)
class ChangedRuns:
    """Run folders, by the ids of their runs, that a recipe plans if ``settings`` (dotted keys) are changed in it."""

    ids: frozenset[str]
    settings: Mapping[str, Any]

    @property
    def runs(self) -> int:
        """How many there are."""
        return len(self.ids)


def changed_runs(recipe: RecipeHeader, folder: Path, known: set[str]) -> list[ChangedRuns]:
    """Return groups of the runs in ``folder`` that are not among the ``known`` ids, by what is changed in them.

    The largest group comes first. Runs that no change of settings explains are left out, as are damaged ones.
    """
    if not isinstance(recipe, Recipe):
        return []  # only tables have settings that options change
    folders = [RunFolder(path.parent) for path in sorted(folder.glob(f"*/{CONFIG}"))]
    if all(_id(each) in known for each in folders):
        return []
    planned = [run.config for run in expand(recipe).runs if isinstance(run.config, LearningConfig)]
    known = known | {config.id for config in planned}
    others = _configurations(each for each in folders if _id(each) not in known)
    stored = [config for config in others if config.id not in known]
    groups: list[tuple[dict[str, Any], dict[str, Any]]] = []  # changes of training and data, and those of methods
    for config in stored:
        same = [each for each in planned if _place(each) == _place(config)]
        if not same:
            continue
        changes = min((dict(_differences(each, config)) for each in same), key=len)
        own = {key: value for key, value in changes.items() if key.startswith(f"{config.method}.")}
        general = {key: value for key, value in changes.items() if key not in own}
        for shared, merged in groups:
            if shared == general and all(merged.get(key, value) == value for key, value in own.items()):
                merged.update(own)
                break
        else:
            groups.append((general, own))
    left, found = {config.id for config in stored}, []
    for general, own in groups:
        settings = dict(sorted({**general, **own}.items()))
        selected = left & _ids(recipe, settings)
        left -= selected
        if selected:
            found.append(ChangedRuns(frozenset(selected), settings))
    return sorted(found, key=lambda group: -group.runs)


def as_recorded(recipe: RecipeHeader, selection: Selection, folder: Path) -> Selection:
    """Return the selection with the images, real or synthetic, that most of the runs in ``folder`` have.

    It matters for smoke runs only, whose images depend on the data folder that ``run`` was given.
    """
    if not selection.smoke:
        return selection
    choices = [selection, replace(selection, data_present=None), replace(selection, data_present=lambda name: False)]
    return max(
        choices, key=lambda each: sum((folder / run.config.folder).exists() for run in expand(recipe, each).runs)
    )


def _configurations(folders: Iterable[RunFolder]) -> Iterator[LearningConfig]:
    """The configurations of the runs of tables that can be read."""
    for folder in folders:
        try:
            config = folder.config
        except UsageError:
            continue  # what reads the run reports the damage
        if isinstance(config, LearningConfig):
            yield config


def _id(folder: RunFolder) -> str:
    """Return the id in the folder's name."""
    return folder.path.name.rpartition(".")[2]


def _place(config: LearningConfig) -> tuple[str, str, str, str]:
    return config.kind, config.dataset, config.network, config.method


def _ids(recipe: Recipe, settings: Mapping[str, Any]) -> set[str]:
    """Return the runs that the recipe's cells are read from with these changes; none where they are refused."""
    try:
        return {run.id for cell in expand(recipe, Selection(settings=settings)).cells for run in cell.runs}
    except UsageError:
        return set()


def _differences(planned: LearningConfig, actual: LearningConfig) -> Iterator[tuple[str, Any]]:
    """The settings, as dotted keys, in which a run differs from a planned one of the same method."""
    schema = methods.get(actual.method).Config
    before = {**planned.sections, actual.method: schema(**planned.settings)}
    after = {**actual.sections, actual.method: schema(**actual.settings)}
    for part in after:
        yield from _changed(part, before[part].model_dump(mode="json"), after[part].model_dump(mode="json"))


def _changed(key: str, before: Any, after: Any) -> Iterator[tuple[str, Any]]:
    """The deepest keys that differ; a mapping with other keys is one value."""
    if isinstance(before, Mapping) and isinstance(after, Mapping) and before.keys() == after.keys():
        for name in after:
            yield from _changed(f"{key}.{name}", before[name], after[name])
    elif before != after:
        yield key, _without_none(after)


def _without_none(value: Any) -> Any:
    """Return a mapping without its empty entries."""
    if isinstance(value, Mapping):
        return {name: each for name, each in value.items() if each is not None}
    return value

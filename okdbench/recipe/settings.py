"""The dotted settings that a recipe gives to each of its cells."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from okdbench import methods
from okdbench.errors import did_you_mean
from okdbench.networks import NetworkName
from okdbench.recipe.axes import CellKey
from okdbench.recipe.label import Label
from okdbench.recipe.problems import Problem, dotted_keys
from okdbench.recipe.resolve import DottedSetting, Sections
from okdbench.recipe.schema import NETWORK, Override, Smoke

Variants = Mapping[str, Mapping[str, Any]]


def cell_settings(
    key: CellKey, overrides: Iterable[tuple[int, Override]], variants: Variants, labels: Sequence[Label]
) -> list[DottedSetting]:
    """Return what the file sets for one cell: the label's preset, the overrides in order, the label's variant, the
    extra axes.

    ``overrides`` come with their index in the file, ``labels`` are all of ``grid.method``.
    """
    found: list[DottedSetting] = []
    label, variant = key.method, key.method.entry(variants)
    if label.variant and variant is None:
        found.append(DottedSetting(f"{label.method}.preset", label.variant, ("grid", "method", labels.index(label))))
    for index, override in overrides:
        if override.when.matches(key):
            found += [DottedSetting(k, value, ("overrides", index, "set", k)) for k, value in override.set.items()]
    found += variant_settings(label, variant or {}, label if label in variants else label.suffix)
    own = ((axis, f"{label.method}.{axis.partition('.')[2]}", value) for axis, value in key.settings)
    return found + [DottedSetting(setting, value, ("grid", axis)) for axis, setting, value in own]


def variant_settings(label: Label, variant: Mapping[str, Any], entry: str) -> list[DottedSetting]:
    """Return the settings of a label's variant, prefixed by the method's name; ``entry`` is its key in the file."""
    return [DottedSetting(f"{label.method}.{key}", value, ("variants", entry, key)) for key, value in variant.items()]


def trained_network(key: CellKey, settings: Sequence[DottedSetting]) -> NetworkName:
    """Return the network that a cell is trained on: the one it prints, unless an override names another."""
    named = [setting.value for setting in settings if setting.key == NETWORK]
    return NetworkName(named[-1] if named else key.network)


def smoke_settings(smoke: Smoke) -> list[DottedSetting]:
    """Return what a smoke run sets on top."""
    return [DottedSetting(key, value, ("smoke", "set", key)) for key, value in smoke.set.items()]


def key_problem(
    setting: DottedSetting, labels: Collection[Label], sections: Sections, axes: Collection[str] = ()
) -> Problem | None:
    """Return what is wrong with a setting's key, if anything: it must belong to a section or a method of the grid.

    A key in ``axes`` is taken: the grid itself sets it. Settings of methods that do not exist yet are accepted.
    """
    names = dict.fromkeys(label.method for label in labels)
    if setting.key in axes or f"method.{setting.key.partition('.')[2]}" in axes:
        return Problem(setting.where, "is an axis of the grid and gets its values there; remove one of the two")
    if setting.section in names and setting.section not in methods.available():
        return None
    if setting.key == NETWORK and setting.where[0] == "overrides":
        return None
    known = [key for section, model in sections.items() for key in dotted_keys(model, section)]
    for name in names:
        if name in methods.available():
            known += [f"{name}.preset", *dotted_keys(methods.get(name).Config, name)]
    if setting.key in known:
        return None
    if setting.where[0] == "variants" and setting.key.partition(".")[2] in known:
        own = setting.key.rpartition(".")[2]
        return Problem(setting.where, f"a variant's settings come without the method's name; write {own}")
    same_end = [key for key in known if key.endswith(f".{setting.key}")]
    remedy = f'did you mean "{same_end[0]}"?' if same_end else did_you_mean(setting.key, known)
    if remedy.startswith("choose"):
        remedy = "a key begins with one of: " + ", ".join(f"{section}." for section in (*sections, *names))
    return Problem(setting.where, f"unknown setting; {remedy}")

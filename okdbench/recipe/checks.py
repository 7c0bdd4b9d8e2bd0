"""Every mistake in the recipe of a table at once, those of its settings included."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from okdbench import methods
from okdbench.errors import did_you_mean
from okdbench.recipe.axes import NAMED_AXES, Axes, ReadAxes, cell_keys, readable_axes, size_problem
from okdbench.recipe.claims import Claim
from okdbench.recipe.formula import claim_problems
from okdbench.recipe.label import Label
from okdbench.recipe.problems import Problem, Where, dotted_keys, unknown, validated
from okdbench.recipe.resolve import DottedSetting, Resolver, Sections
from okdbench.recipe.schema import NETWORK, Override, Recipe, ReportedNumbers, Smoke
from okdbench.recipe.settings import Variants, cell_settings, key_problem, smoke_settings, variant_settings

RecipeT = TypeVar("RecipeT", bound=Recipe)


def read(raw: Mapping[str, Any], model: type[RecipeT]) -> tuple[RecipeT | None, list[Problem]]:
    """Return the recipe of this model, and what is wrong with it."""
    axes = readable_axes(raw)
    if too_large := size_problem(axes):
        return None, [Problem(("grid",), too_large)]
    recipe, problems = validated(model, raw, axes)
    absent: dict[str, Any] = {name: None if model.model_fields[name].is_required() else {} for name in model.sections}
    resolver = Resolver({name: raw.get(name, absent[name]) for name in model.sections}, model.sections)
    problems += [*_setting_problems(raw, axes, resolver, model), *_claim_problems(raw, axes)]
    return recipe.resolved_by(resolver) if recipe else None, problems


def _setting_problems(raw: Mapping[str, Any], axes: ReadAxes, resolver: Resolver, model: type[Recipe]) -> list[Problem]:
    """Find settings with unknown keys or bad values: every cell of the grid is resolved, as it is and as a smoke run.

    Works on what can be read of the file, so that mistakes elsewhere do not hide these.
    """
    labels = axes.get("method", ())
    if not labels:
        return []
    extra = [axis for axis in axes if "." in axis]
    sections = model.sections
    trained = (*labels, *axes.teachers["method"])
    found = [_axis_problem(axis, labels, extra) for axis in extra]
    taken = [axis for axis, problem in zip(extra, found, strict=True) if not problem]
    found += [key_problem(setting, trained, sections, taken) for setting in _all_settings(raw, labels)]
    problems = [problem for problem in found if problem]
    wrong = {problem.where for problem in problems}

    problems += _missing_teachers(raw, labels)
    parsed = [(index, validated(Override, item, axes)[0]) for index, item in enumerate(_items(raw, "overrides"))]
    overrides = [(index, override) for index, override in parsed if override]
    problems += _unused_overrides(overrides, sections)
    variants = _variants(raw)
    problems += _misnamed(variants, labels)
    smoke = validated(model.smoke_type, raw.get("smoke", {}), axes)[0] or Smoke(set={})
    for key in cell_keys(axes):
        settings = cell_settings(key, overrides, variants, labels)
        for layers in (settings, settings + smoke_settings(smoke)):
            problems += resolver(key.method, [setting for setting in layers if setting.where not in wrong])[1]
    return problems


def _axis_problem(axis: str, labels: Collection[Label], axes: Collection[str]) -> Problem | None:
    """Return what is wrong with the name of an axis of settings, if anything: it must be a setting of a method."""
    section, _, setting = axis.partition(".")
    if section == "method":
        return _shared_axis_problem(axis, labels)
    where = ("grid", axis)
    if f"method.{setting}" in axes:
        return Problem(where, f"is beside method.{setting}, which is for all methods; remove one of the two")
    if section not in {label.method for label in labels}:
        names = ", ".join(dict.fromkeys(f"{label.method}." for label in labels))
        return Problem(
            where, f"is no axis, since an axis is a setting of a method; it begins with one of: method., {names}"
        )
    return key_problem(DottedSetting(axis, None, where), labels, {})


def _shared_axis_problem(axis: str, labels: Collection[Label]) -> Problem | None:
    """Return what is wrong with an axis for all methods, if anything: each must have the setting."""
    names = dict.fromkeys(label.method for label in labels if label.method in methods.available())
    settings = {name: dotted_keys(methods.get(name).Config, "method") for name in names}
    setting = axis.partition(".")[2]
    own = [f"{name}.{setting}" for name, keys in settings.items() if axis in keys]
    if len(own) == len(names):
        return None
    if not own:
        known = {key for keys in settings.values() for key in keys}
        return Problem(("grid", axis), f"is a setting of no method of the grid; {did_you_mean(axis, known)}")
    lacking = ", ".join(name for name, keys in settings.items() if axis not in keys)
    return Problem(("grid", axis), f"{lacking} has no such setting; in place of method., write {' and '.join(own)}")


def _missing_teachers(raw: Mapping[str, Any], labels: Iterable[Label]) -> Iterator[Problem]:
    """Methods that learn from another run's network, where the file does not say which."""
    given = raw.get("teachers")
    names = dict.fromkeys(label.method for label in labels)
    for name, teacher in given.items() if isinstance(given, dict) else ():
        if name not in names:
            yield Problem(("teachers", name), unknown("grid.method has no", str(name), list(names)))
        kind = methods.available().get(str(teacher.get("method"))) if isinstance(teacher, dict) else None
        if isinstance(teacher, dict) and (kind is None or kind.needs_teacher):
            able = [other for other, each in methods.available().items() if not each.needs_teacher]
            what = unknown("no method that trains by itself is called", str(teacher.get("method")), able)
            yield Problem(("teachers", name, "method"), what)
    for name in names:
        kind = methods.available().get(name)
        if kind and kind.needs_teacher and not (isinstance(given, dict) and name in given):
            what = f"{name} needs a trained teacher; add {name}: {{network: NAME, method: baseline}}"
            yield Problem(("teachers",), what)


def _claim_problems(raw: Mapping[str, Any], axes: Axes) -> list[Problem]:
    """Return claims that cannot be computed; nothing where the grid or the reported numbers are themselves wrong."""
    claims = [(index, validated(Claim, item, axes)[0]) for index, item in enumerate(_items(raw, "claims"))]
    reported, problems = validated(ReportedNumbers, raw["reported"], axes) if "reported" in raw else (None, [])
    if problems or not all(axis in axes for axis in NAMED_AXES):
        return []
    return claim_problems([(index, claim) for index, claim in claims if claim], axes, reported)


def _items(raw: Mapping[str, Any], key: str) -> list[Any]:
    """Return a section that is a list, as written."""
    items = raw.get(key)
    return items if isinstance(items, list) else []


def _variants(raw: Mapping[str, Any]) -> Variants:
    """Return the variants that are mappings, as written."""
    variants = raw.get("variants")
    found = variants.items() if isinstance(variants, dict) else ()
    return {
        label: {str(key): value for key, value in settings.items()}
        for label, settings in found
        if isinstance(label, str) and isinstance(settings, dict)
    }


def _misnamed(variants: Variants, labels: Iterable[Label]) -> Iterator[Problem]:
    """Labels of variants that name no variant, or one that the method has as a preset."""
    for entry in variants:
        for label in Label(entry).covers(labels, variants):
            kind = methods.available().get(label.method)
            if not label.variant:
                what = f"is a method; name the variant after it, for instance {label}@mine"
                yield Problem(("variants", entry), what)
            elif kind and label.variant in kind.Config.presets:
                yield Problem(("variants", entry), f"is a preset of {label.method} already; choose another name")


def _all_settings(raw: Mapping[str, Any], labels: Iterable[Label]) -> Iterator[DottedSetting]:
    """Every setting in the file's ``set`` mappings and variants."""
    variants = _variants(raw)
    for entry, variant in variants.items():
        for label in Label(entry).covers(labels, variants):
            yield from variant_settings(label, variant, entry)
    overrides = enumerate(_items(raw, "overrides"))
    places: list[tuple[Where, Any]] = [(("overrides", index), item) for index, item in overrides]
    for where, item in [*places, (("smoke",), raw.get("smoke"))]:
        if isinstance(item, dict) and isinstance(item.get("set"), dict):
            for key, value in item["set"].items():
                yield DottedSetting(str(key), value, (*where, "set", str(key)))


def _unused_overrides(overrides: Iterable[tuple[int, Override]], sections: Sections) -> Iterator[Problem]:
    """Settings of a method in an override for other methods: they would never apply."""
    for index, override in overrides:
        chosen = {Label(label).method for label in override.when.method or ()}
        for key in override.set:
            section = key.partition(".")[0]
            if chosen and section not in (*sections, NETWORK, *chosen):
                what = f"never applies, because when.method is {', '.join(sorted(chosen))}; add {section} there"
                yield Problem(("overrides", index, "set", key), what)

"""From a recipe and a selection to cells and runs, always the same ones in the same order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from okdbench import data, methods, networks
from okdbench.config import DataSettings, RunConfig
from okdbench.errors import UsageError, did_you_mean
from okdbench.networks import NetworkName
from okdbench.plan.selection import Selection, as_option
from okdbench.plan.table import Cell, Plan, Reported, Run
from okdbench.recipe.axes import DEFAULT_READING, READING, Axes, CellKey, cell_keys, label_and_reading
from okdbench.recipe.label import Label
from okdbench.recipe.problems import Problem, dotted, raise_if_any
from okdbench.recipe.resolve import DottedSetting, Resolved
from okdbench.recipe.schema import Recipe
from okdbench.recipe.settings import cell_settings, key_problem, smoke_settings, trained_network

MakeCell = Callable[[Recipe, Selection, CellKey, tuple[int, ...], "PlannedAndActual"], Cell]
"""From a cell's settings, as planned and as they are, to the cell with its runs, one for each seed."""


def expand_table(recipe: Recipe, selection: Selection, make: MakeCell | None = None) -> Plan:
    """Return the cells and runs of a table: trainings, or what ``make`` makes of its cells."""
    make = make or training_cell
    axes, readings, problems = _chosen_axes(recipe, selection)
    seeds, more = _chosen_seeds(recipe, selection)
    changes = _changes(recipe, selection)
    wanted = [setting for setting in changes if setting.key in selection.settings]
    trained = (*recipe.grid.method, *(teacher.method for teacher in recipe.teachers.values()))
    found = (key_problem(setting, trained, recipe.sections, recipe.grid.settings) for setting in wanted)
    raise_if_any([*problems, *more, *(problem for problem in found if problem)])

    resolved = {key: _resolved(recipe, key, changes) for key in cell_keys(axes)}
    raise_if_any(problem for _, problems in resolved.values() for problem in problems)
    cells = [make(recipe, selection, key, seeds, both) for key, (both, _) in resolved.items() if both]
    read = [each for cell in cells for each in _readings(recipe, cell) if readings.wants(each.key)]
    return Plan(recipe, selection, tuple(read))


class _Readings(NamedTuple):
    """The readings that a selection chooses: of all labels, and of single ones (``--method LABEL@READING``)."""

    general: frozenset[str]
    own: Mapping[Label, frozenset[str]]

    def wants(self, key: CellKey) -> bool:
        """Return whether the cell is chosen."""
        chosen = self.own.get(key.method, self.general)
        return not chosen or key.reading in chosen


def _chosen_axes(recipe: Recipe, selection: Selection) -> tuple[Axes, _Readings, list[Problem]]:
    """Return the grid's axes narrowed to the selection; the smoke grid narrows those not in the selection."""
    axes: dict[str, tuple[Any, ...]] = dict(recipe.grid.axes)
    known = {**axes, READING: (DEFAULT_READING, *recipe.readings)}
    split = [label_and_reading(name, known) for name in selection.methods]
    chosen: dict[str, tuple[str, ...]] = {
        "dataset": selection.datasets,
        "network": selection.networks,
        "method": tuple(dict.fromkeys(label for label, _ in split)),
        READING: selection.readings,
    }
    problems = []
    for axis, names in chosen.items():
        for name in names:
            if axis == "method" and _preset_of(recipe, Label(name)):
                axes[axis] = (*axes[axis], Label(name))
            elif name not in known[axis]:
                parts = [part.strip() for part in name.split(",")]
                remedy = did_you_mean(name, known[axis])
                if len(parts) > 1:
                    remedy = f"repeat the option for each: {' '.join(f'--{axis} {part}' for part in parts)}"
                problems.append(Problem((f"--{axis} {name}",), f"is not in the grid of {recipe.name}; {remedy}"))
    narrowed: Axes = recipe.smoke.grid.axes if selection.smoke else {}
    for axis, names in {**narrowed, **{axis: names for axis, names in chosen.items() if names}}.items():
        if axis in axes:
            axes[axis] = tuple(name for name in axes[axis] if name in names)
    whole = {label for label, reading in split if reading is None}
    own = {
        Label(label): frozenset(reading for other, reading in split if other == label and reading)
        for label, _ in split
        if label not in whole
    }
    return axes, _Readings(frozenset(selection.readings), own), problems


def _readings(recipe: Recipe, cell: Cell) -> Iterator[Cell]:
    """The cell under each of its label's readings, the protocol's own first."""
    for reading in recipe.readings_of(cell.method):
        key = cell.key._replace(reading=reading)
        yield replace(cell, key=key, reported=reported_number(recipe, key), protocol=recipe.protocol_of(key))


def _preset_of(recipe: Recipe, label: Label) -> str:
    """Return the preset in a label that is not in the grid, although its method is; "" if there is none."""
    mine = label not in recipe.grid.method and label.method in recipe.grid.method
    known = mine and label.method in methods.available()
    return label.variant if known and label.variant in methods.get(label.method).Config.presets else ""


def _chosen_seeds(recipe: Recipe, selection: Selection) -> tuple[tuple[int, ...], list[Problem]]:
    """Return the seeds to run: the selection's, or those of the smoke settings, or the recipe's."""
    smoke = recipe.smoke.seeds or recipe.seeds[:1]
    allowed = tuple(dict.fromkeys([*recipe.seeds, *(smoke if selection.smoke else ())]))
    have = f"is not among the seeds of {recipe.name}; choose from: {', '.join(map(str, allowed))}"
    problems = [Problem((f"--seed {seed}",), have) for seed in selection.seeds if seed not in allowed]
    if selection.seeds:
        return tuple(seed for seed in allowed if seed in selection.seeds), problems
    return smoke if selection.smoke else recipe.seeds, problems


class PlannedAndActual(NamedTuple):
    """A cell's settings as the recipe plans them, and as they are with the selection's changes; and its network."""

    planned: Resolved
    actual: Resolved
    network: NetworkName

    def changes(self, method: str) -> list[str]:
        """Return what the selection changes, such as ``training.epochs=2``."""
        if self.actual is self.planned:
            return []
        before, after = self.planned.flat(method), self.actual.flat(method)
        return [f"{key}={value}" for key, value in sorted(after.items()) if key not in before or before[key] != value]


def _resolved(
    recipe: Recipe, key: CellKey, changes: Sequence[DottedSetting]
) -> tuple[PlannedAndActual | None, list[Problem]]:
    """Return a cell's settings, or what is wrong with them."""
    if preset := _preset_of(recipe, key.method):
        changes = [DottedSetting(f"{key.method.method}.preset", preset, (f"--method {key.method}",)), *changes]
        key = key._replace(method=Label(key.method.method))
    own = cell_settings(key, enumerate(recipe.overrides), recipe.variants, recipe.grid.method)
    planned, problems = recipe.resolver(key.method, own)
    actual, more = recipe.resolver(key.method, [*own, *changes]) if changes else (planned, [])
    both = PlannedAndActual(planned, actual, trained_network(key, own)) if planned and actual else None
    return both, [*problems, *more]


def _changes(recipe: Recipe, selection: Selection) -> list[DottedSetting]:
    """Return what the selection sets on top of the recipe; the user's own settings come last."""
    wanted = [DottedSetting(key, value, (as_option(key, value),)) for key, value in selection.settings.items()]
    return [*(smoke_settings(recipe.smoke) if selection.smoke else []), *wanted]


def training_cell(
    recipe: Recipe, selection: Selection, key: CellKey, seeds: tuple[int, ...], resolved: PlannedAndActual
) -> Cell:
    """Return the cell with its trainings, or with the reason why it has none."""
    unavailable = left_out(recipe, key) or _unavailable(recipe, key, resolved)
    dataset = key.dataset if unavailable else images_of(key.dataset, selection)
    changed = resolved.changes(key.method.method)
    if dataset != key.dataset:
        changed.insert(0, f"dataset={dataset}")
    if not unavailable:
        method, actual = methods.get(key.method.method), resolved.actual
        each = getattr(actual.method, "images_per_class", method.images_per_class)
        require_images(recipe, selection, data.get(dataset), actual.data, actual.training.batch_size, each)
    runs = () if unavailable else tuple(_runs(recipe, selection, key, seeds, _config(key, resolved, dataset, 0)))
    reported, protocol = reported_number(recipe, key), recipe.protocol_of(key)
    out = left_out(recipe, key) is not None
    return Cell(key, resolved.network, reported, protocol, unavailable, tuple(changed), runs, out)


def placed(recipe: Recipe, selection: Selection, problem: Problem) -> Problem:
    """Return the problem of a setting where the user wrote it: on the command line, or in a line of the file."""
    key = dotted(problem.where)
    if key in selection.settings:
        return Problem((as_option(key, selection.settings[key]),), problem.what)
    return Problem((f"{recipe.place(problem.where)}{key}",), problem.what)


def _runs(
    recipe: Recipe, selection: Selection, key: CellKey, seeds: tuple[int, ...], first: RunConfig
) -> Iterator[Run]:
    """A run for each seed, like ``first`` in all else, with the teacher that it needs."""
    taught = methods.get(first.method).needs_teacher
    for seed in seeds:
        config = first.model_copy(update={"seed": seed})
        if taught:
            config = config.model_copy(update={"teacher": _teacher(recipe, selection, config)})
        yield Run(config, key)


def require_images(
    recipe: Recipe,
    selection: Selection,
    dataset: data.Dataset,
    wanted: DataSettings,
    batch_size: int,
    images_per_class: int = 0,
    section: tuple[str, ...] = (),
) -> None:
    """Raise UsageError for numbers of images that the data set cannot give, or that cannot be divided into batches.

    ``section`` is where the settings ``data`` and ``training`` are, if not at the top of the recipe.
    """
    problems = data.image_problems(dataset, wanted, batch_size, images_per_class)
    raise_if_any(placed(recipe, selection, Problem((*section, *where), what)) for where, what in problems)


def _config(key: CellKey, resolved: PlannedAndActual, dataset: str, seed: int) -> RunConfig:
    """Return the configuration of one run of a cell whose method exists."""
    actual = resolved.actual
    return RunConfig(
        dataset=dataset,
        network=str(resolved.network),
        method=key.method.method,
        settings=actual.method.model_dump(mode="json", exclude_defaults=True) if actual.method else {},
        training=actual.training,
        data=actual.data,
        seed=seed,
        plugins=methods.origins(key.method.method, resolved.network),
    )


def _teacher(recipe: Recipe, selection: Selection, taught: RunConfig) -> RunConfig:
    """Return the run that teaches another: the same images and changes, the settings of its own cell."""
    teacher = recipe.teachers[taught.method]
    key = CellKey(taught.dataset, teacher.network, teacher.method)
    both, problems = _resolved(recipe, key, _changes(recipe, selection))
    if not both:
        raise UsageError("; ".join(f"{dotted(where)}: {what}" for where, what in problems))
    return _config(key, both, taught.dataset, taught.seed if teacher.seed == "same" else teacher.seed)


def images_of(dataset: str, selection: Selection) -> str:
    """Return the data set to train on: a smoke run takes synthetic images where the real ones are absent."""
    if selection.smoke and selection.data_present and not selection.data_present(dataset):
        return f"synthetic-{dataset}"
    return dataset


def left_out(recipe: Recipe, key: CellKey) -> str | None:
    """Return why the recipe leaves the cell out; None if it does not."""
    return next((each.why for each in recipe.left_out if each.when.matches(key)), None)


def _unavailable(recipe: Recipe, key: CellKey, resolved: PlannedAndActual) -> str | None:
    """Return why the cell cannot be trained: this version of okdbench lacks a part of it."""
    name = key.method.method
    teacher = recipe.teachers.get(name)
    wanted = [resolved.network, *([teacher.network] if teacher else [])]
    parts = [("data set", key.dataset, data.get), ("method", name, methods.get)]
    parts[1:1] = [("network", part, networks.get) for pair in wanted for part in NetworkName(pair).names]
    missing, obstacles = list[str](), list[str]()
    networks.available()  # a plugin that cannot be used is not a network that is not there
    for what, part, find in dict.fromkeys(parts):
        try:
            find(part)
        except UsageError as error:
            hint = str(error).partition(": ")[2].partition(" Or ")[0]
            if hint.startswith("cannot"):
                obstacles.append(f'{what} "{part}" {hint}')
            else:
                missing.append(f'{what} "{part}"' + (f" ({hint})" if hint.startswith(("did you", "it may")) else ""))
    if missing:
        obstacles.insert(0, f"unknown {' and '.join(missing)}")
    if obstacles:
        return "; ".join(obstacles)
    return methods.get(name).obstacle(resolved.actual.method, networks.several(resolved.network))


def reported_number(recipe: Recipe, key: CellKey) -> Reported | None:
    """Return the number that the source prints for the cell."""
    numbers = recipe.reported
    cell = numbers.by_key.get(key) if numbers else None
    if not numbers or not cell:
        return None
    return Reported(
        mean=cell.mean,
        std=cell.std,
        n=cell.n,
        metric=cell.metric or numbers.metric,
        provenance=numbers.provenance if cell.provenance is None else cell.provenance,
        trust=cell.trust,
        note=cell.note,
    )

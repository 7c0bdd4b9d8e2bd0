"""What a table's plan trains and compares, for ``okdbench show``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from okdbench.words import count

if TYPE_CHECKING:
    from okdbench.config import DataSettings, TrainingSettings
    from okdbench.plan.table import Plan


def assignments(values: Mapping[str, Any]) -> str:
    """``lr=0.1, momentum=0.9``."""
    return ", ".join(f"{key}={value}" for key, value in values.items())


def describe_plan(plan: "Plan") -> list[tuple[str, str]]:
    """Return the grid, the settings, how numbers are read, and which numbers the paper prints."""
    recipe = plan.recipe
    lines = [(axis, ", ".join(map(str, values))) for axis, values in recipe.grid.axes.items()]
    lines += [("seeds", ", ".join(map(str, recipe.seeds))), *describe_settings(recipe.training, recipe.data)]
    for override in recipe.overrides:
        when = "; ".join(f"{axis} {', '.join(names)}" for axis, names in override.when.model_dump().items() if names)
        lines.append(("set", f"{assignments(override.set)}{f' (for {when})' if when else ''}"))
    lines += [("variant", f"{label}: {assignments(variant)}") for label, variant in recipe.variants.items() if variant]
    for name, teacher in recipe.teachers.items():
        lines.append(("teacher", f"of {name}: {teacher.network} {teacher.method}, seed {teacher.seed}"))
    for name, protocol in recipe.protocol.items():
        what = f"head {protocol.head}, epoch {protocol.epoch}" if protocol.statistic == "mean" else protocol.statistic
        lines.append(("protocol", f"{name}: {what}"))
    for name, reading in recipe.readings.items():
        given = reading.model_dump(mode="json", exclude_defaults=True, exclude={"method"})
        labels = f" (for {', '.join(reading.method)})" if reading.method else ""
        lines.append(("reading", f"{name}: {assignments(given)}{labels}"))
    if recipe.figure:
        lines.append(("figure", assignments({k: v for k, v in recipe.figure.model_dump(mode="json").items() if v})))
    return [*lines, *_reported(plan)]


def describe_settings(training: "TrainingSettings", data: "DataSettings") -> list[tuple[str, str]]:
    """Return the settings of training and images, one line each."""
    return [
        ("training", f"{count(training.epochs, 'epoch')}, batches of {training.batch_size}"),
        ("optimizer", assignments(training.optimizer.model_dump(mode="json"))),
        ("schedule", assignments(training.schedule.model_dump(mode="json"))),
        *([("average", f"HEAD@ema: {assignments(training.ema.model_dump(mode='json'))}")] if training.ema else []),
        ("data", assignments({k: v for k, v in data.model_dump(mode="json").items() if v not in (None, [])})),
    ]


def _reported(plan: "Plan") -> list[tuple[str, str]]:
    """Return the printed numbers, and when one counts as reproduced."""
    numbers = [cell.reported for cell in plan.cells if cell.reported]
    if not numbers:
        return []
    metrics = " and ".join(dict.fromkeys(number.metric for number in numbers))
    with_spread = sum(number.std is not None for number in numbers)
    cells = count(len(numbers), "cell")
    return [
        ("reported", f"{cells} ({metrics} in percent), {with_spread} of them with a standard deviation"),
        ("margin", f"a mean within {plan.recipe.margin} points of the reported one counts as reproduced"),
    ]

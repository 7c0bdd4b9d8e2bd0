"""The part of a recipe that the user selects, and the settings changed in it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from okdbench.recipe.document import parse_value
from okdbench.recipe.problems import preview

SHORTHANDS = {"training.epochs": "--epochs", "data.subset": "--subset"}
"""Settings that have options of their own."""


@dataclass(frozen=True)
class Selection:
    """Which part of a recipe, and what to change; empty names mean all.

    ``settings`` are dotted keys as in a recipe's ``set``, applied last. ``smoke`` applies the recipe's smoke settings;
    then ``data_present`` is asked whether a data set's files are there, and synthetic images stand in where not.
    """

    datasets: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    smoke: bool = False
    data_present: Callable[[str], bool] | None = None

    def options(self) -> list[str]:
        """Return the selection as words of a command, which reads them as the same selection."""
        words: list[str] = []
        for option, values in (
            ("-d", self.datasets),
            ("-n", self.networks),
            ("-m", self.methods),
            ("--reading", self.readings),
            ("-s", self.seeds),
        ):
            for value in values:
                words += [option, str(value)]
        for key, value in sorted(self.settings.items(), key=lambda item: item[0] not in SHORTHANDS):
            words += [SHORTHANDS[key], str(value)] if key in SHORTHANDS else ["--set", f"{key}={_as_word(value)}"]
        return [*words, "--smoke"] if self.smoke else words


def as_option(key: str, value: Any) -> str:
    """Return a changed setting as the user writes it on the command line, for messages about it."""
    return f"--set {key}={preview(value)}"


def _as_word(value: Any) -> str:
    """Return a value as the user writes it: a string as it is where that is read as a string again, else as JSON."""
    return value if isinstance(value, str) and parse_value(value) == value else json.dumps(value, ensure_ascii=False)

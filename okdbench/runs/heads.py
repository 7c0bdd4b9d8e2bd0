"""Heads, the named predictions of a method, and how a number is read from them."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

DEPLOYED = "deployed"
"""Stands for the head that the method deploys; finished runs record which one that is."""
AVERAGE = "@ema"
"""The end of a head's name in a record where it is the prediction of the moving average of the weights."""

_FORM = re.compile(
    r"(?P<function>mean|max)\((?P<glob>[\w.*?\[\]-]+)(?P<glob_averaged>@ema)?\)|(?P<name>[\w.]+)(?P<name_averaged>@ema)?"
)


def matching(patterns: Iterable[str], names: Iterable[str], deployed: str) -> list[str]:
    """Return those of a method's head names that are named or match a pattern; `DEPLOYED` stands for ``deployed``."""
    wanted = [deployed if each == DEPLOYED else each for each in patterns]
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in wanted)]


class Head(str):
    """Which of a run's recorded heads a number is read from, written ``peer0``, ``peer0@ema`` or ``mean(peer?)``.

    ``pattern`` is a name, or with a ``function`` (mean or max, taken within each epoch) a glob over names;
    ``averaged``: the predictions of the moving average of the weights. Raise ValueError for anything else.
    """

    pattern: str
    function: str
    averaged: bool

    def __new__(cls, text: str) -> Self:  # noqa: D102
        match = _FORM.fullmatch(text)
        if not match:
            raise ValueError(f'"{text}" is not understood; write a head, mean(PATTERN) or max(PATTERN)')
        head = super().__new__(cls, text)
        head.function = match["function"] or ""
        head.pattern = match["glob"] or match["name"]
        head.averaged = bool(match["glob_averaged"] or match["name_averaged"])
        return head

    @property
    def chooses(self) -> bool:
        """Whether it takes the best of several heads."""
        return self.function == "max"

    def resolve_deployed(self, deployed: str) -> "Head":
        """Return this head, with ``deployed`` replaced by the name of the method's deployed head."""
        return self._with(deployed, self.averaged) if self.pattern == DEPLOYED else self

    def of_average(self) -> "Head":
        """Return this head of the moving average of the weights."""
        return self._with(self.pattern, True)

    def _with(self, pattern: str, averaged: bool) -> "Head":
        name = pattern + (AVERAGE if averaged else "")
        return Head(f"{self.function}({name})" if self.function else name)

    def covers(self, other: "Head") -> bool:
        """Return whether the other is this head, or is read from those that this one takes the best of."""
        if self == other or not self.chooses or self.averaged != other.averaged:
            return self == other
        return other.pattern == self.pattern if other.function else fnmatchcase(other.pattern, self.pattern)

    def among(self, names: Iterable[str]) -> list[str]:
        """Return the recorded names that it reads."""
        wanted = self.pattern + (AVERAGE if self.averaged else "")
        return [name for name in names if (fnmatchcase(name, wanted) if self.function else name == wanted)]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())

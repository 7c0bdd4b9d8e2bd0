"""Statements about a table's numbers, as data that can be computed again from the printed cells."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from okdbench.config import StrictModel

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)")


def _a_number(value: str) -> str:
    if not _NUMBER.fullmatch(value):
        raise ValueError(f'"{value}" is not a number; write it as printed, for instance ".37"')
    return value


class Claim(StrictModel):
    """One statement about the table, the paper's or another's, and a formula over its cells that decides it.

    ``printed`` is text, because the number of its digits matters: without ``tolerance`` a computed value may differ by
    half a unit of the last of them. A formula that compares, such as ``a < b``, holds or not and has no printed value.
    The language of formulas is that of `okdbench.recipe.formula`.
    """

    id: str = Field(min_length=1, description="unique in the recipe")
    text: str = Field(min_length=1, description="what is said, quoted or paraphrased")
    formula: str = Field(min_length=1, max_length=1000)
    printed: Annotated[str, AfterValidator(_a_number)] | None = None
    tolerance: float | None = Field(default=None, ge=0)
    own_runs_only: bool = Field(default=False, description="its cells have no printed numbers: runs alone decide it")
    source: str = Field(min_length=1, description='who says so, for instance "Section 4.2"')

    @property
    def decimals(self) -> int:
        """Digits after the point of the printed value."""
        return len((self.printed or "").partition(".")[2])

    @property
    def allowed(self) -> float:
        """How far the computed value may lie from the printed one."""
        return 0.5 * 10.0**-self.decimals if self.tolerance is None else self.tolerance

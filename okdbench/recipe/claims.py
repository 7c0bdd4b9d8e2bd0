"""What a source says about its own numbers, as data that can be computed again from the printed cells."""

from typing import Annotated

from pydantic import Field

from okdbench.config import Settings


class Claim(Settings):
    """One statement of the source: a formula over the recipe's reported cells (`okdbench.recipe.formula`) and its value.

    ``printed`` is text, because the number of its digits matters: without ``tolerance`` a computed value may differ by
    half a unit of the last of them. A formula that compares, such as ``a < b``, holds or not and has no printed value.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    text: str = Field(min_length=1, description="what the source says, quoted or paraphrased")
    formula: str = Field(min_length=1, max_length=1000)
    printed: Annotated[str, Field(pattern=r"^[-+]?(\d+(\.\d*)?|\.\d+)$")] | None = None
    tolerance: float | None = Field(default=None, ge=0)
    source: str = Field(min_length=1, description='place in the paper, for instance "Section 4.2"')

    @property
    def decimals(self) -> int:
        """Digits after the point of the printed value."""
        return len((self.printed or "").partition(".")[2])

    @property
    def allowed(self) -> float:
        """How far the computed value may lie from the printed one."""
        return 0.5 * 10.0**-self.decimals if self.tolerance is None else self.tolerance

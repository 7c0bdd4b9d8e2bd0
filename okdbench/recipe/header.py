"""The keys that recipes of every kind share."""

from typing import Self

from pydantic import Field, PrivateAttr

from okdbench.config import StrictModel


class Source(StrictModel):
    """Where the reported numbers were printed."""

    paper: str
    year: int
    table: str = Field(description='for instance "Table 1"')
    authors: str = ""
    arxiv: str = ""
    doi: str = ""
    url: str = ""


class RecipeHeader(StrictModel):
    """Title, source and notes of a recipe, and its name."""

    title: str
    kind: str
    source: Source | None = None
    notes: str = ""
    _name: str = PrivateAttr(default="")

    @property
    def name(self) -> str:
        """The file's stem."""
        return self._name

    def named(self, name: str) -> Self:
        """Return the same recipe under this name."""
        copy = self.model_copy()
        copy._name = name
        return copy

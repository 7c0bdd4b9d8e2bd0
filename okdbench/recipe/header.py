"""The keys that recipes of every kind share."""

from typing import Any, Self

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

    @classmethod
    def of(cls, raw: Any) -> Self:
        """Return the header of a parsed file, whatever else it has; raise ValueError if the header is wrong."""
        if not isinstance(raw, dict):
            raise ValueError("is not a mapping")
        return cls.model_validate({"kind": "", **{key: raw[key] for key in cls.model_fields if key in raw}})

    @property
    def name(self) -> str:
        """The file's stem."""
        return self._name

    def named(self, name: str) -> Self:
        """Return the same recipe under this name."""
        copy = self.model_copy()
        copy._name = name
        return copy

"""The keys that recipes of every kind share."""

from collections.abc import Callable
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
    _place: Callable[[tuple[str | int, ...]], str] | None = PrivateAttr(default=None)

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

    def place(self, where: tuple[str | int, ...]) -> str:
        """Return file and line of a key, for the beginning of a message; "" for a recipe that is not from a file."""
        return self._place(where) if self._place else ""

    def named(self, name: str, place: Callable[[tuple[str | int, ...]], str] | None = None) -> Self:
        """Return the same recipe under this name; ``place`` says where its keys are."""
        copy = self.model_copy()
        copy._name = name
        copy._place = place or copy._place
        return copy

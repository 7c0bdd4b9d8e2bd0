"""Labels: the names of methods in a table."""

from collections.abc import Iterable, Mapping
from typing import Any, Self, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

T = TypeVar("T")


class Label(str):
    """A method, ``dkel``, or a preset or variant of one, ``dkel@released``.

    Where a file has entries by label, a suffix alone, ``@released``, stands for every label that ends with it and has
    no entry of its own; it is a label without a ``method``.
    """

    method: str
    variant: str

    def __new__(cls, text: str) -> Self:  # noqa: D102
        label = super().__new__(cls, text)
        label.method, _, label.variant = text.partition("@")
        return label

    @property
    def suffix(self) -> str:
        """What it adds to its method: ``@released``; "" for a method itself."""
        return f"@{self.variant}" if self.variant else ""

    def entry(self, entries: Mapping[str, T]) -> T | None:
        """Return the label's own entry, else that of its suffix."""
        return entries.get(self, entries.get(self.suffix or self))

    def covers(self, labels: Iterable["Label"], entries: Mapping[str, object]) -> list["Label"]:
        """Return the ``labels`` that an entry of this name is for; ``entries`` are all of them."""
        if self.method:
            return [self]
        return [label for label in labels if label.suffix == self and label not in entries]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls._of_a_method, core_schema.str_schema())

    @classmethod
    def _of_a_method(cls, text: str) -> Self:
        """Return the label; raise ValueError unless it names a method, and something after each @."""
        if not all(text.split("@")):
            raise ValueError(f'"{text}" is not a label; write a method, or one of its variants as METHOD@VARIANT')
        return cls(text)

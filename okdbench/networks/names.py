"""Names of networks as recipes and runs write them."""

from typing import Any, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


class NetworkName(str):
    """One architecture, ``resnet32``, or several different ones, ``resnet32+mobilenet``.

    ``names`` are its parts. Raise ValueError for anything else.
    """

    names: tuple[str, ...]

    def __new__(cls, text: str) -> Self:  # noqa: D102
        name = super().__new__(cls, text)
        name.names = tuple(text.split("+"))
        if not all(name.names):
            raise ValueError(f'"{text}" is not a network; name one, or several as A+B')
        if len(set(name.names)) == 1 < len(name.names):
            raise ValueError(f'"{text}" is one network twice; write "{name.names[0]}"')
        if len(set(name.names)) < len(name.names):
            raise ValueError(f'"{text}" names one network twice; name different ones')
        return name

    @property
    def is_several(self) -> bool:
        """Whether it names more than one architecture."""
        return len(self.names) > 1

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())

"""Texts of others (names, titles, messages) without what would change how a terminal, or a document, shows the rest.

Ends of lines and tabs become blanks; control characters, marks that turn the direction of writing, and halves of
characters become visible, as ``\\x1b``.
"""

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

T = TypeVar("T")
_BLANK = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    """Return the text in one line that shows all that it has."""
    return text if text.isprintable() else _HIDDEN.sub(_visible, _BLANK.sub(" ", text))


def printable_lines(text: str) -> str:
    """Return the text with its line ends, each line printable."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def printable_json(text: str) -> str:
    """Return JSON with the same content in which hidden characters are escaped."""
    return _HIDDEN.sub(lambda found: "\n" if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def all_printable(value: T) -> T:
    """Return a value with every text in it printable: a text, a tuple, list or dictionary, a data class."""
    result: Any = value
    if isinstance(value, str) and not value.isprintable():
        result = printable(value)
    elif isinstance(value, tuple | list):
        if not (value and isinstance(value[0], float | int)):  # the points of a curve
            items = [all_printable(each) for each in value]
            same = all(new is old for new, old in zip(items, value, strict=True))
            result = value if same else type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    elif isinstance(value, dict):
        result = {all_printable(key): all_printable(each) for key, each in value.items()}
    elif is_dataclass(value) and not isinstance(value, type):
        found = {each.name: getattr(value, each.name) for each in fields(value) if each.init}
        changed = {name: new for name, old in found.items() if (new := all_printable(old)) is not old}
        result = replace(value, **changed) if changed else value
    return cast(T, result)


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

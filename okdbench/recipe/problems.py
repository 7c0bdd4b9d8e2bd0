"""Mistakes in a recipe as plain one-liners: where, what, and the remedy."""

import json
import types
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from okdbench.errors import UsageError, did_you_mean

Where = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

_PLAIN = {
    "missing": "is missing; add it",
    "string_type": "must be text, not {given}; put text in quotes",
    "invalid_key": "a key must be text; put {given} in quotes",
    "int_type": "must be a whole number, not {given}",
    "int_parsing": "must be a whole number, not {given}",
    "int_from_float": "must be a whole number, not {given}",
    "float_type": "must be a number, not {given}",
    "float_parsing": "must be a number, not {given}",
    "bool_type": "must be true or false, not {given}",
    "bool_parsing": "must be true or false, not {given}",
    "bool_for_number": "must be a number, not {given}",
    "greater_than": "must be above {gt:g}, not {given}",
    "greater_than_equal": "must be at least {ge:g}, not {given}",
    "less_than": "must be below {lt:g}, not {given}",
    "less_than_equal": "must be at most {le:g}, not {given}",
    "tuple_type": "must be a list, not {given}",
    "list_type": "must be a list, not {given}",
    "dict_type": "must be a mapping (key: value), not {given}",
    "model_type": "must be a mapping (key: value), not {given}",
    "model_attributes_type": "must be a mapping (key: value), not {given}",
    "too_short": "is empty; name at least one",
    "finite_number": "must be finite, not {given}",
}
"""Pydantic's error types in words for the author of a recipe."""


class Problem(NamedTuple):
    """One mistake: the path of the key from the top of the file, and the problem with its remedy."""

    where: Where
    what: str


def dotted(where: Where) -> str:
    """Return a path as people write it, for instance ``reported.cells[5].network``."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def preview(value: Any) -> str:
    """Return a value in a form that suits a message."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."


def unknown(what: str, name: str, choices: Mapping[str, Any] | tuple[str, ...] | list[str]) -> str:
    """Return the message about a name that is not among ``choices``, with the nearest of them."""
    return f'{what} "{name}"; {did_you_mean(name, choices)}'


def raise_if_any(problems: Iterable[Problem]) -> None:
    """Raise UsageError with a line for each different problem, if there are any."""
    lines = [f"{dotted(where)}: {what}" for where, what in dict.fromkeys(problems)]
    if lines:
        raise UsageError("\n".join(lines))


def validated(model: type[Model], raw: Any, context: Mapping[str, Any]) -> tuple[Model | None, list[Problem]]:
    """Return the model, or None and what is wrong; ``context`` is for checks against other parts of the file."""
    try:
        return model.model_validate(raw, context=context), []
    except ValidationError as error:
        return None, translate_errors(error, model)


def translate_errors(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Return pydantic's findings on input for ``model``, in the order found."""
    return [_plain(detail, model) for detail in error.errors(include_url=False)]


def _plain(detail: ErrorDetails, model: type[BaseModel]) -> Problem:
    """Return one finding: the path without pydantic's own marks, and the plain text of its type."""
    where, kind = _locate(model, detail["loc"])
    error, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if error == "extra_forbidden":
        return Problem(where, f"unknown key; {did_you_mean(str(where[-1]), keys(kind))}")
    if error.startswith("union_tag"):
        tags = [tag for member in members(kind) for tag in _tags(member)]
        missing = f"is missing; choose from: {', '.join(tags)}"
        what = unknown("there is no", context["tag"], tags) if "tag" in context else missing
        return Problem((*where, context["discriminator"].strip("'")), what)
    if error == "literal_error":
        return Problem(where, unknown("there is no", str(given), [str(choice) for choice in get_args(kind)]))
    if error == "value_error":
        return Problem(where, str(context["error"]))
    if given is None and error != "missing":
        return Problem(where, "has no value; give one, or remove the key")
    text = _PLAIN.get(error, f"{detail['msg']}, not {{given}}")
    return Problem(where, text.format(given=preview(given), **context))


def _locate(kind: Any, loc: tuple[str | int, ...]) -> tuple[Where, Any]:
    """Return the path as written, and the type there; for an unknown key, that of the mapping around it."""
    where: list[str | int] = []
    for part in loc:
        if part == "[key]":
            continue
        kind = unwrap_optional(kind)
        if _is_model(kind):
            field = next((f for name, f in kind.model_fields.items() if part in (name, f.alias)), None)
            if field is None:
                where.append(part)
                break
            kind = field.annotation
            if part != field.alias:
                where.append(part)
        elif len(options := members(kind)) > 1:
            kind = next((option for option in options if part in _tags(option)), Any)
        else:
            where.append(part)
            kind = next((inner for inner in reversed(get_args(kind)) if inner is not Ellipsis), Any)
    return tuple(where), unwrap_optional(kind)


def unwrap_optional(kind: Any) -> Any:
    """Return an annotation without ``Annotated`` and without ``| None``."""
    if get_origin(kind) is Annotated:
        return unwrap_optional(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        rest = [member for member in get_args(kind) if member is not type(None)]
        return unwrap_optional(rest[0]) if len(rest) == 1 else kind
    return kind


def members(kind: Any) -> list[Any]:
    """Return the members of a union, or the type itself."""
    return (
        [unwrap_optional(member) for member in get_args(kind)]
        if get_origin(kind) in (Union, types.UnionType)
        else [kind]
    )


def keys(model: Any) -> list[str]:
    """Return the keys that a mapping of this model may have."""
    return [field.alias or name for name, field in model.model_fields.items()] if _is_model(model) else []


@cache
def dotted_keys(model: Any, prefix: str) -> tuple[str, ...]:
    """Return all dotted keys below ``prefix`` that settings of this model have, inner ones included."""
    found: list[str] = []
    for member in members(unwrap_optional(model)):
        if _is_model(member):
            for name, field in member.model_fields.items():
                found += [f"{prefix}.{name}", *dotted_keys(field.annotation, f"{prefix}.{name}")]
    return tuple(dict.fromkeys(found))


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _tags(model: Any) -> list[str]:
    """Return the values that single out this member of a discriminated union."""
    fields = model.model_fields.values() if _is_model(model) else ()
    required = (field.annotation for field in fields if field.is_required())
    return [tag for annotation in required if get_origin(annotation) is Literal for tag in get_args(annotation)]

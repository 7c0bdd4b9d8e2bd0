"""Reading a recipe's YAML: safe, without YAML 1.1's surprises, and with the line number of every key."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from okdbench.errors import UsageError
from okdbench.recipe.problems import Where


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML with the scalars of YAML 1.2: ``1e-4`` is a number; ``off``, ``no`` and dates are text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own way of replacing the table)


for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+.")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), _first)


class Duplicate(NamedTuple):
    """A key that a mapping has twice, and the lines (from 1) of both."""

    key: str
    line: int
    first_line: int


class RecipeFile:
    """A parsed file: its ``data``, its ``name`` in messages, the ``duplicates`` among its keys, every line number."""

    def __init__(self, path: Path) -> None:
        """Read ``path``; raise UsageError if it cannot be read or is not YAML."""
        self.path = path
        self.name = str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
        try:
            with path.open(encoding="utf-8") as file:
                self.data, self._root, self.duplicates = _parse(file.read())
        except OSError as error:
            raise UsageError(f"{self.name}: cannot be read ({error.strerror}); give a recipe's .yaml file") from None
        except UnicodeDecodeError:
            raise UsageError(f"{self.name}: is not text in UTF-8; save it as UTF-8") from None
        except yaml.YAMLError as error:
            raise UsageError(f"{self.name}{_explain(error)}") from None

    def line(self, where: Where) -> int:
        """Return the line, counted from 1, of the key or item at ``where``, or of the nearest thing around it."""
        node, line = self._root, 1
        for part in where:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        return line


def parse_value(text: str) -> Any:
    """Return the value of a scalar or flow-style YAML text as recipes read it: ``1e-4`` a number, ``[1, 2]`` a list.

    Raise UsageError if it is not YAML.
    """
    try:
        return _parse(text)[0]
    except yaml.YAMLError as error:
        raise UsageError(f"{text!r}{_explain(error)}") from None


def _parse(text: str) -> tuple[Any, yaml.Node | None, list[Duplicate]]:
    """Return the data, the tree of nodes that it was made from, and the keys written twice."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None, None, []
        duplicates = list(_duplicates(root, set()))  # looked for first: construction writes merged keys into the tree
        return loader.construct_document(root), root, duplicates
    finally:
        loader.dispose()


def _explain(error: yaml.YAMLError) -> str:
    """Return PyYAML's message of several lines as one line, with the position if it has one."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
    return f"{place}: not valid YAML: {what}; fix the syntax there, or put the text in quotes"


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    """Return the line and node of a mapping's key or a list's item."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item = node.value[part]
        return item.start_mark.line + 1, item
    return None


def _duplicates(node: yaml.Node, seen: set[int]) -> Iterator[Duplicate]:
    """Keys written twice anywhere below ``node``; ``seen`` keeps aliased nodes from being searched again."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if key.value in lines:
                    yield Duplicate(key.value, line, lines[key.value])
                lines.setdefault(key.value, line)
            yield from _duplicates(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _duplicates(item, seen)

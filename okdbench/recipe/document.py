"""Reading a recipe's YAML: safe, without YAML 1.1's surprises, and with the line number of every key."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from okdbench.errors import UsageError
from okdbench.recipe.problems import Where

LARGEST, DEEPEST, MOST_NODES, LONGEST_NUMBER = 1 << 20, 32, 50_000, 100
"""Bytes of a file, levels of lists and mappings within each other, values with all aliases written out, and characters
of a number: far above what recipes need, far below what keeps a machine busy."""


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
        self._children: dict[int, dict[str, tuple[int, yaml.Node]]] = {}
        self.name = shown_name(path)
        try:
            self.data, self._root, self.duplicates = _parse(content_of(path).decode())
        except UnicodeDecodeError:
            raise UsageError(f"{self.name}: is not text in UTF-8; save it as UTF-8") from None
        except yaml.YAMLError as error:
            raise UsageError(f"{self.name}{_explain(error)}") from None

    def line(self, where: Where) -> int:
        """Return the line, counted from 1, of the key or item at ``where``, or of the nearest thing around it."""
        node, line = self._root, 1
        for part in where:
            if id(node) not in self._children:
                self._children[id(node)] = dict(_children(node))
            found = self._children[id(node)].get(str(part))
            if found is None:
                break
            line, node = found
        return line


def shown_name(path: Path) -> str:
    """Return a file's name in messages: its path, from the current folder where it is below that."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def content_of(path: Path) -> bytes:
    """Return the bytes of a recipe's file; raise UsageError if it cannot be read or is no recipe by its size."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{shown_name(path)}: cannot be read ({error.strerror}); give a recipe's .yaml file") from None
    if len(content) > LARGEST:
        raise UsageError(f"{shown_name(path)}: has more than {LARGEST:,} bytes; give a recipe's .yaml file")
    return content


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
    _require_plain(text)
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None, None, []
        _size(root, {})
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


def _require_plain(text: str) -> None:
    """Raise YAMLError for a text whose tree would be too deep or too large, or has tags, before the tree is made."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent | yaml.CollectionEndEvent):
            depth += 1 if isinstance(event, yaml.CollectionStartEvent) else -1
        if depth > DEEPEST:
            raise _refused(event, f"more than {DEEPEST} levels")
        if count > MOST_NODES:
            raise _refused(event, f"more than {MOST_NODES:,} values")
        if tag := getattr(event, "tag", None):
            raise _refused(event, f"a tag, {tag:.60}, which recipes do not have")


def _size(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Return how many values are below a node, aliases written out; raise YAMLError for what a recipe may not have."""
    if (size := known.get(id(node), 0)) is None:
        raise _refused(node, "an alias of what it is in")
    if size:
        return size
    known[id(node)], size = None, 1
    if isinstance(node, yaml.CollectionNode):
        for item in node.value:
            size += sum(_size(each, known) for each in (item if isinstance(item, tuple) else (item,)))
        if size > MOST_NODES:
            raise _refused(node, f"more than {MOST_NODES:,} values")
    elif node.tag.endswith((":int", ":float")) and len(node.value) > LONGEST_NUMBER:
        raise _refused(node, f"a number of more than {LONGEST_NUMBER} characters")
    known[id(node)] = size
    return size


def _refused(place: Any, what: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=f"found {what}", problem_mark=place.start_mark)


def _children(node: yaml.Node | None) -> Iterator[tuple[str, tuple[int, yaml.Node]]]:
    """Lines and nodes of a mapping's keys, the first of equal ones last, or of a list's items."""
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):
            yield str(key.value), (key.start_mark.line + 1, value)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield str(number), (item.start_mark.line + 1, item)


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

"""The program as a group of verbs: options that stand anywhere on the line, defaults from files, hints to mistakes."""

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from okdbench.cli import settings
from okdbench.errors import UsageError

VALUED, FLAGS = ("--plugin", "--packed"), ("-q", "--quiet", "-v", "--verbose")
"""Options of the program itself, which may also follow the verb."""

WITHOUT_DEFAULTS: tuple[list[str], ...] = ([], ["doctor"], ["--version"])
"""Beginnings of lines that work with wrong defaults, too, besides those that ask for `HELP`."""
HELP = frozenset({"-h", "--help"})


def own_options(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into the program's own options, wherever they stand, and the other words."""
    own, others = list[str](), list[str]()
    rest = iter(words)
    for word in rest:
        if word == "--":
            return own, [*others, word, *rest]
        if word in VALUED:
            own += [word, *([value] if (value := next(rest, None)) is not None else [])]
        elif word in FLAGS or word.startswith(tuple(f"{option}=" for option in VALUED)):
            own.append(word)
        else:
            others.append(word)
    return own, others


WRONG_LINE: Any = typer.BadParameter.__mro__[1]
"""What typer raises for any mistake on the command line."""


class Program(TyperGroup):
    """See the module."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the configuration of the user, and bring the program's own options before the verb."""
        own, others = own_options(args)
        try:
            defaults = settings.default_map(self)
        except UsageError as error:
            if others[:1] not in WITHOUT_DEFAULTS and not HELP.intersection(others):
                error.then = error.then or ("doctor",)
                raise
            for line in str(error).splitlines():
                print(f"okdbench: not used: {line}", file=sys.stderr)
            defaults = {}
        return super().make_context(info_name, [*own, *others], parent=parent, default_map=defaults, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; a wrong option gets a hint at what may be meant."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if isinstance(error, WRONG_LINE):
                error.message += _hint(error)
            raise


def _hint(error: Any) -> str:
    """Return what to add to the message about a wrong option or value."""
    if option := getattr(error, "option_name", None):
        if hint := _setting(option):
            error.possibilities = None
        return hint
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None or parameter is None:
        return ""
    source = context.get_parameter_source(parameter.name)
    if source and source.name == "DEFAULT_MAP":
        option = settings.option_name(parameter)
        names = {e.source for e in settings.given(settings.verbs(context.find_root().command)) if e.option == option}
        return f"; it comes from {' or '.join(sorted(names))}"
    typed = zip(sys.argv, sys.argv[1:], strict=False)
    if getattr(parameter, "multiple", False) and any(a in parameter.opts and "," in b for a, b in typed):
        return f"; repeat the option for each value: {parameter.opts[-1]} A {parameter.opts[-1]} B"
    return ""


def _setting(option: str) -> str:
    """Return the ``--set`` that an unknown option may mean: the setting of trainings that it names."""
    from okdbench.config import DataSettings, TrainingSettings
    from okdbench.recipe.problems import dotted_keys

    name = option.lstrip("-").replace("-", "_")
    keys = [*dotted_keys(TrainingSettings, "training"), *dotted_keys(DataSettings, "data")]
    found = [f"--set {key}=VALUE" for key in keys if key.rpartition(".")[2] == name]
    return f"; a setting of trainings is changed with {' or '.join(found)}" if found else ""

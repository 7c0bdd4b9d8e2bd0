"""Values of options that the user gives once for all: in the environment and in ``okdbench.toml``.

An option is named as on the command line. ``OKDBENCH_JOBS`` or a line ``jobs = 2`` at the top of the file is for every
verb that has it, ``OKDBENCH_RUN_JOBS`` or a table ``[run]`` for one. The command line wins over the environment, that
over the file in the current folder, and that over the one in the user's configuration folder. A table such as
``[engine.slurm]`` holds an engine's own settings.
"""

import os
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer

from okdbench.errors import UsageError, did_you_mean

FILE = "okdbench.toml"
ENGINE = "engine"
"""The table whose tables are the settings of engines."""
PREFIX = "OKDBENCH_"
Verbs = dict[tuple[str, ...], dict[str, Any]]


class Given(NamedTuple):
    """A value for an option of a verb, and the file or variable that gives it."""

    verb: tuple[str, ...]
    option: str
    value: Any
    source: str


def configuration_files() -> list[Path]:
    """Return the configuration files that exist, the one that wins last."""
    return [path for path in (Path(typer.get_app_dir("okdbench"), FILE), Path(FILE)) if path.exists()]


def verbs(group: Any, names: tuple[str, ...] = ()) -> Verbs:
    """Return the options of every verb below a group of commands: parameters by name, without dashes."""
    found: Verbs = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= verbs(command, (*names, name))
        else:
            options = [each for each in command.params if each.param_type_name == "option"]
            found[*names, name] = {option_name(each): each for each in options}
    return found


def option_name(parameter: Any) -> str:
    """Return an option's long name, without dashes."""
    return str(max(parameter.opts, key=len).lstrip("-"))


def given(known: Verbs) -> list[Given]:
    """Return all values that files and environment give, the ones that win last; raise UsageError for unknown keys."""
    found = [each for path in configuration_files() for each in _of_file(path, known)]
    return [*found, *_of_environment(known)]


def default_map(group: Any) -> dict[str, Any]:
    """Return the values as click takes them: by verb and parameter."""
    known = verbs(group)
    defaults: dict[str, Any] = {}
    for each in given(known):
        place = defaults
        for name in each.verb:
            place = place.setdefault(name, {})
        parameter = known[each.verb][each.option]
        listed = isinstance(each.value, list)
        if isinstance(each.value, bool) and not parameter.is_flag:
            raise UsageError(f"{each.source}: {each.option}: needs a value, not true or false")
        if parameter.multiple and not listed:
            place[parameter.name] = str(each.value).split() if each.source.startswith(PREFIX) else [each.value]
        else:
            place[parameter.name] = each.value
    return defaults


def engines() -> list[Given]:
    """Return the settings of engines in the files, the ones that win last; ``verb`` names the engine."""
    from okdbench.engines import registry

    found, known = [], registry.available()
    for path in configuration_files():
        sections = _content(path).get(ENGINE, {})
        for name, section in sections.items() if isinstance(sections, dict) else ():
            if name not in known or not isinstance(section, dict):
                raise UsageError(f"{path}: [{ENGINE}.{name}]: is no engine; {did_you_mean(name, known)}")
            found += [Given((ENGINE, name), key, value, str(path)) for key, value in section.items()]
    return found


def of_engine(engine: str, options: Sequence[str] = ()) -> dict[str, Any]:
    """Return the settings of an engine from the files, and from options KEY=VALUE, which win; VALUE is TOML or text."""
    found = {each.option: each.value for each in engines() if each.verb == (ENGINE, engine)}
    for option in options:
        key, equals, text = option.partition("=")
        if not key or not equals:
            raise UsageError(f"--engine-option {option}: give KEY=VALUE")
        found[key] = _value(text)
    return found


def _value(text: str) -> Any:
    """Return what a text means in TOML, the text itself where it means nothing."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read as TOML ({error}); correct it") from None


def _of_file(path: Path, known: Verbs) -> Iterator[Given]:
    content = _content(path)
    tables = {" ".join(verb): verb for verb in known}
    everywhere = {option for options in known.values() for option in options}
    problems = []
    for key, value in content.items():
        if isinstance(value, dict):
            verb = tables.get(key)
            if verb is None:
                if key != ENGINE:
                    problems.append(f"{path}: [{key}]: is no verb; {did_you_mean(key, [*tables, ENGINE])}")
                continue
            for option, inner in value.items():
                if option in known[verb]:
                    yield Given(verb, option, inner, str(path))
                else:
                    remedy = did_you_mean(option, known[verb])
                    problems.append(f"{path}: [{key}] {option}: {key} has no such option; {remedy}")
        elif key in everywhere:
            yield from (Given(verb, key, value, str(path)) for verb, options in known.items() if key in options)
        else:
            problems.append(f"{path}: {key}: no verb has such an option; {did_you_mean(key, everywhere)}")
    if problems:
        raise UsageError("\n".join(problems))


def _of_environment(known: Verbs) -> Iterator[Given]:
    """Yield the variables for every verb first, so that those for one verb win."""
    for own in (False, True):
        for verb, options in known.items():
            for option in options:
                words = (*verb, option) if own else (option,)
                name = PREFIX + "_".join(words).upper().replace("-", "_")
                if value := os.environ.get(name):
                    yield Given(verb, option, value, name)

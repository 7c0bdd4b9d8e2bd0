"""Options that several verbs share, declared once so that they mean the same everywhere."""

import inspect
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from okdbench.cli import complete, paths
from okdbench.cli.program import FLAGS, own_options
from okdbench.errors import UsageError
from okdbench.report import formats
from okdbench.runs.execution import Algorithms, Backend, Execution, Precision

if TYPE_CHECKING:
    from okdbench.engines import Patience
    from okdbench.kinds import AnyPlan
    from okdbench.plan import Selection

SELECTION = "Selection (repeat an option to choose several)"
SETTINGS = "Settings (runs with changed settings are not compared with the paper)"
PLACES = "Places"
EXECUTION = "Execution (does not change the run's identity; recorded)"
RESULTS_VARIABLE, DATA_VARIABLE = "OKDBENCH_RESULTS", "OKDBENCH_DATA"
DEFAULT_RESULTS, DEFAULT_DATA = Path("results"), Path("data")


def grouped(verb: Callable[..., None]) -> Callable[..., None]:
    """Let a verb take options in groups: a parameter whose type is a dataclass stands for one option per field."""
    signature = inspect.signature(verb)
    groups: dict[str, Any] = {
        name: each.annotation for name, each in signature.parameters.items() if is_dataclass(each.annotation)
    }
    options = [
        option.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, each in signature.parameters.items()
        for option in (inspect.signature(groups[name]).parameters.values() if name in groups else [each])
    ]

    @wraps(verb)
    def ungrouped(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        verb(**values)

    ungrouped.__signature__ = signature.replace(parameters=options)  # type: ignore[attr-defined]
    return ungrouped


class TextOrJson(StrEnum):
    """How a verb prints."""

    text = "text"
    json = "json"


RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe's name (see: okdbench list recipes) or the path of a YAML file.",
        autocompletion=complete.recipes,
    ),
]


def one_recipe(help: str, default: str) -> Any:
    """Return the argument of a verb for one recipe, which without it takes the ``default``, in words."""
    return typer.Argument(metavar="RECIPE", help=help, show_default=default, autocompletion=complete.recipes)


FormatOption = Annotated[TextOrJson, typer.Option("--format", help="Text for people, JSON for programs.")]


ReportFormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help=f"{', '.join(formats.available())}, or a plugin's.",
        show_default="by FILE's ending, else text",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", parser=paths.new_file, help="Write to a file.", show_default=False),
]


def figure_option(text: str, **more: Any) -> Any:
    """Return the option ``--figure FILE``, ``text`` being its help."""
    return typer.Option("--figure", metavar="FILE", parser=paths.new_file, help=text, **more)


DeviceOption = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda:N", help="Where to train.")]
ResultsOption = Annotated[
    Path,
    typer.Option(
        "--results",
        metavar="DIR",
        parser=paths.folder,
        envvar=RESULTS_VARIABLE,
        help="Folder of the records.",
        rich_help_panel=PLACES,
    ),
]
DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="DIR",
        parser=paths.folder,
        envvar=DATA_VARIABLE,
        help="Folder of the images.",
        rich_help_panel=PLACES,
    ),
]


def _selects(name: str, *short: str, metavar: str = "NAME") -> Any:
    """Return an option that narrows the recipe's grid."""
    text = f"Only this {name.replace('dataset', 'data set')}."
    return typer.Option(
        f"--{name}",
        *short,
        metavar=metavar,
        help=text,
        rich_help_panel=SELECTION,
        show_default=False,
        autocompletion=complete.on_grid(name),
    )


def _changes(name: str, **details: Any) -> Any:
    """Return an option that changes the recipe's settings."""
    return typer.Option(name, rich_help_panel=SETTINGS, show_default=False, **details)


@dataclass(frozen=True)
class Choices:
    """The selected part of a recipe, and the settings changed in it."""

    datasets: Annotated[list[str] | None, _selects("dataset", "-d")] = None
    networks: Annotated[list[str] | None, _selects("network", "-n")] = None
    methods: Annotated[list[str] | None, _selects("method", "-m")] = None
    readings: Annotated[list[str] | None, _selects("reading")] = None
    seeds: Annotated[list[int] | None, _selects("seed", "-s", metavar="N")] = None
    epochs: Annotated[int | None, _changes("--epochs", metavar="N", min=1, help="Train for N epochs.")] = None
    subset: Annotated[
        int | None, _changes("--subset", metavar="N", min=1, help="Train on N images, equally many of each class.")
    ] = None
    assignments: Annotated[
        list[str] | None,
        _changes(
            "--set",
            metavar="KEY=VALUE",
            help="Change one setting, for instance training.batch_size=64 or dkel.alpha=0.2; repeatable.",
        ),
    ] = None
    smoke: Annotated[
        bool,
        _changes("--smoke", help="The recipe's smallest trial, with synthetic images where the real ones are absent."),
    ] = False

    def settings(self) -> dict[str, Any]:
        """Return the changed settings; raise UsageError for a ``--set`` that is not KEY=VALUE."""
        from okdbench.recipe import parse_value

        shorthand = {"training.epochs": self.epochs, "data.subset": self.subset}
        settings: dict[str, Any] = {key: value for key, value in shorthand.items() if value is not None}
        for assignment in self.assignments or ():
            key, equals, value = assignment.partition("=")
            if not key or not equals:
                raise UsageError(f'--set "{assignment}": write KEY=VALUE, for instance --set training.batch_size=64')
            settings[key.strip()] = parse_value(value)
        return settings

    def selection(self, data: Path) -> "Selection":
        """Return the selection from the recipe and its changes; ``data`` is the data folder."""
        from okdbench.data import present
        from okdbench.plan import Selection

        return Selection(
            datasets=tuple(self.datasets or ()),
            networks=tuple(self.networks or ()),
            methods=tuple(self.methods or ()),
            readings=tuple(self.readings or ()),
            seeds=tuple(self.seeds or ()),
            settings=self.settings(),
            smoke=self.smoke,
            data_present=lambda name: present(name, data),
        )

    def plan(self, recipe: str, data: Path) -> "AnyPlan":
        """Return the chosen cells and runs of a recipe; raise UsageError for a wrong recipe, name or setting."""
        from okdbench.recipe import find, load

        find(recipe)  # before anything that takes time
        from okdbench.plan import expand

        loaded = load(recipe)
        try:
            return expand(loaded, self.selection(data))
        except UsageError as error:
            error.then = error.then or ("show", recipe)
            raise

    def recorded_plan(self, recipe: str, places: "Places") -> "AnyPlan":
        """Return the `plan`, with the synthetic images of a smoke run where its records have them."""
        from okdbench.plan import expand
        from okdbench.plan.changed import as_recorded
        from okdbench.recipe import load

        loaded = load(recipe)
        return expand(loaded, as_recorded(loaded, self.selection(places.data), places.results / loaded.name))

    def arguments(self) -> list[str]:
        """Return the options as words of a command."""
        return self.selection(Path()).options()


@dataclass(frozen=True)
class Places:
    """Where records and images are."""

    results: ResultsOption = DEFAULT_RESULTS
    data: DataOption = DEFAULT_DATA

    def arguments(self) -> list[str]:
        """Return the options as words of a command, without those that are defaults or from the environment."""
        return results_arguments(self.results) + data_arguments(self.data)


def results_arguments(results: Path) -> list[str]:
    """Return ``--results`` as words of a command; see `Places.arguments`."""
    return _unless_default("--results", RESULTS_VARIABLE, DEFAULT_RESULTS, results)


def data_arguments(data: Path) -> list[str]:
    """Return ``--data`` as words of a command; see `Places.arguments`."""
    return _unless_default("--data", DATA_VARIABLE, DEFAULT_DATA, data)


def _unless_default(option: str, variable: str, default: Path, folder: Path) -> list[str]:
    return [] if folder == Path(os.environ.get(variable) or default).expanduser() else [option, str(folder)]


@dataclass(frozen=True)
class ComputationOptions:
    """How training steps are computed."""

    backend: Annotated[
        Backend,
        typer.Option("--backend", help="How training steps reach the device: auto picks.", rich_help_panel=EXECUTION),
    ] = Backend.auto
    precision: Annotated[
        Precision,
        typer.Option(
            "--precision",
            help="What the stages of networks compute in; auto: bfloat16 where the device has units for it.",
            rich_help_panel=EXECUTION,
        ),
    ] = Precision.auto
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic/--fast",
            help="Fixed algorithms, which give the same bits again on the same machine, or the fastest ones.",
            rich_help_panel=EXECUTION,
        ),
    ] = True

    def execution(self, jobs: int = 1) -> Execution:
        """Return the choices, for ``jobs`` runs that one worker trains in turns."""
        algorithms = Algorithms.deterministic if self.deterministic else Algorithms.fast
        return Execution(self.backend, self.precision, algorithms, jobs)


@dataclass(frozen=True)
class PatienceOptions:
    """When a worker is given up, and how often its run is tried again."""

    retries: Annotated[
        int,
        typer.Option(
            "--retries",
            metavar="N",
            min=0,
            max=100,
            help="How often a run is tried again whose worker died without a word.",
            rich_help_panel=EXECUTION,
        ),
    ] = 2
    stall_timeout: Annotated[
        float,
        typer.Option(
            "--stall-timeout",
            metavar="MINUTES",
            min=0,
            help="End and retry a worker that does not advance for so long; 0: never.",
            rich_help_panel=EXECUTION,
        ),
    ] = 30

    def patience(self) -> "Patience":
        """Return the choices."""
        from okdbench.engines import Patience

        return Patience(self.retries, stall_timeout=60 * self.stall_timeout)


def program() -> str:
    """Return the program as the user called it."""
    return "python -m okdbench" if Path(sys.argv[0]).name == "__main__.py" else "okdbench"


def command(*words: str) -> str:
    """Return a command for the user to copy, with the program and the plugins of this call."""
    own, _ = own_options(sys.argv[1:])
    plugins = [word for word in own if word not in FLAGS]
    return f"{program()} {shlex.join([*plugins, *words])}"

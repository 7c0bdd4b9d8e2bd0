"""Options that several verbs share, defined once so that they mean the same everywhere."""

import os
import shlex
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from okdbench.errors import UsageError
from okdbench.runs.execution import Algorithms, Backend, Execution, Precision

if TYPE_CHECKING:
    from okdbench.plan import AnyPlan, Selection

SELECTION = "Selection (repeat an option to choose several)"
SETTINGS = "Settings (what is changed is not compared with the paper)"
PLACES = "Places"
COMPUTING = "Computing (no part of what a run is; its record tells)"
RESULTS_VARIABLE, DATA_VARIABLE = "OKDBENCH_RESULTS", "OKDBENCH_DATA"


class Format(StrEnum):
    """How a verb prints."""

    text = "text"
    json = "json"


class Form(StrEnum):
    """How a verb writes what it found."""

    text = "text"
    markdown = "markdown"
    json = "json"


RecipeName = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="A recipe's name (see: okdbench list recipes) or the path of a YAML file."),
]
FormOption = Annotated[Form, typer.Option("--format", metavar="FORMAT", help="text, markdown or json.")]
Output = Annotated[Format, typer.Option("--format", help="Text for people, JSON for programs.")]


Datasets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset", "-d", metavar="NAME", help="Only this data set.", rich_help_panel=SELECTION, show_default=False
    ),
]
Networks = Annotated[
    list[str] | None,
    typer.Option(
        "--network", "-n", metavar="NAME", help="Only this network.", rich_help_panel=SELECTION, show_default=False
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method", "-m", metavar="NAME", help="Only this method.", rich_help_panel=SELECTION, show_default=False
    ),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option("--seed", "-s", metavar="N", help="Only this seed.", rich_help_panel=SELECTION, show_default=False),
]

Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs", metavar="N", min=1, help="Train for N epochs.", rich_help_panel=SETTINGS, show_default=False
    ),
]
Subset = Annotated[
    int | None,
    typer.Option(
        "--subset",
        metavar="N",
        min=1,
        help="Train on N images, as many of each class.",
        rich_help_panel=SETTINGS,
        show_default=False,
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one setting, for instance training.batch_size=64 or dkel.alpha=0.2; repeatable.",
        rich_help_panel=SETTINGS,
        show_default=False,
    ),
]
Smoke = Annotated[
    bool,
    typer.Option("--smoke", help="The recipe's smallest trial, on made-up images where the real ones are absent.",
                 rich_help_panel=SETTINGS, show_default=False),
]  # fmt: skip

Results = Annotated[
    Path,
    typer.Option("--results", metavar="DIR", envvar=RESULTS_VARIABLE, help="Folder of the records.",
                 rich_help_panel=PLACES),
]  # fmt: skip
Data = Annotated[
    Path,
    typer.Option("--data", metavar="DIR", envvar=DATA_VARIABLE, help="Folder of the images.", rich_help_panel=PLACES),
]
Backends = Annotated[
    Backend,
    typer.Option("--backend", help="How training steps reach the device: auto picks.", rich_help_panel=COMPUTING),
]
Precisions = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="What the stages of networks compute in; auto: bfloat16 where the device has units for it.",
        rich_help_panel=COMPUTING,
    ),
]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic/--fast",
        help="Fixed algorithms: the same bits again on the same machine; or whichever are fastest.",
        rich_help_panel=COMPUTING,
    ),
]
RESULTS, DATA = Path("results"), Path("data")
File = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file.", show_default=False)
]


@dataclass(frozen=True)
class Choices:
    """The selection and settings options as a person typed them."""

    datasets: tuple[str, ...]
    networks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int | None
    subset: int | None
    assignments: tuple[str, ...]
    smoke: bool

    @classmethod
    def typed(
        cls,
        dataset: list[str] | None,
        network: list[str] | None,
        method: list[str] | None,
        seed: list[int] | None,
        epochs: int | None,
        subset: int | None,
        assignments: list[str] | None,
        smoke: bool,
    ) -> "Choices":
        """From the values of the options, in their order."""
        datasets, networks, methods = (tuple(chosen or ()) for chosen in (dataset, network, method))
        return cls(datasets, networks, methods, tuple(seed or ()), epochs, subset, tuple(assignments or ()), smoke)

    def settings(self) -> dict[str, Any]:
        """The changed settings; UsageError for a ``--set`` that is no KEY=VALUE."""
        from okdbench.recipe import parse_value

        shorthand = {"training.epochs": self.epochs, "data.subset": self.subset}
        settings: dict[str, Any] = {key: value for key, value in shorthand.items() if value is not None}
        for assignment in self.assignments:
            key, equals, value = assignment.partition("=")
            if not key or not equals:
                raise UsageError(f'--set "{assignment}": write KEY=VALUE, for instance --set training.batch_size=64')
            settings[key.strip()] = parse_value(value)
        return settings

    def selection(self, data: Path) -> "Selection":
        """What the recipe is narrowed and changed to; ``data`` is the data folder."""
        from okdbench.data import present
        from okdbench.plan import Selection

        return Selection(
            datasets=self.datasets,
            networks=self.networks,
            methods=self.methods,
            seeds=self.seeds,
            settings=self.settings(),
            smoke=self.smoke,
            data_present=lambda name: present(name, data),
        )

    def plan(self, recipe: str, data: Path) -> "AnyPlan":
        """The chosen cells and runs of a recipe; UsageError for a wrong recipe, name or setting."""
        from okdbench.plan import expand
        from okdbench.recipe import load

        return expand(load(recipe), self.selection(data))

    def arguments(self) -> list[str]:
        """The options again, for a command to copy."""
        words: list[str] = []
        for option, values in (("-d", self.datasets), ("-n", self.networks), ("-m", self.methods), ("-s", self.seeds)):
            for value in values:
                words += [option, str(value)]
        for option, number in (("--epochs", self.epochs), ("--subset", self.subset)):
            words += [option, str(number)] if number is not None else []
        for assignment in self.assignments:
            words += ["--set", assignment]
        return [*words, "--smoke"] if self.smoke else words


def execution(backend: Backend, precision: Precision, deterministic: bool) -> Execution:
    """From the options' values."""
    return Execution(backend, precision, Algorithms.deterministic if deterministic else Algorithms.fast)


PLUGINS: list[Path] = []
"""What stood behind --plugin, before the verb."""


def program() -> str:
    """The program as the person called it."""
    return "python -m okdbench" if Path(sys.argv[0]).name == "__main__.py" else "okdbench"


def command(*words: str) -> str:
    """A command for the person to copy, called as they called this one, with the same plugins."""
    plugins = [word for path in PLUGINS for word in ("--plugin", str(path))]
    return f"{program()} {shlex.join([*plugins, *words])}"


def places(results: Path | None = None, data: Path | None = None) -> list[str]:
    """The options --results and --data again, where a folder is neither the default nor what the environment says."""
    words: list[str] = []
    for option, variable, default, folder in (
        ("--results", RESULTS_VARIABLE, RESULTS, results),
        ("--data", DATA_VARIABLE, DATA, data),
    ):
        if folder and folder != Path(os.environ.get(variable) or default):
            words += [option, str(folder)]
    return words

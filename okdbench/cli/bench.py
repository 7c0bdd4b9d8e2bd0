"""``okdbench bench``: how fast training is here."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from okdbench.cli import options
from okdbench.cli.options import Choices, ComputationOptions, Places, grouped
from okdbench.cli.output import chosen_format, print_to_stderr, write_content
from okdbench.errors import UsageError
from okdbench.runs.execution import Execution, GraphError, let_threads_sleep

if TYPE_CHECKING:
    from okdbench.bench import Measurement
    from okdbench.config import RunConfig
    from okdbench.kinds import AnyPlan
    from okdbench.report.bench import OperationsReport, RecipeSpeedReport, SpeedReport

WHAT = "What is timed (repeat an option to time every combination)"
EFFORT = "How long"


class ComparedLoop(StrEnum):
    """The loops that ours is compared with."""

    published = "as-published"
    fair = "fair-eager"


Datasets = Annotated[
    list[str] | None,
    typer.Option("--dataset", "-d", metavar="NAME", help="Data set.", show_default="cifar100", rich_help_panel=WHAT),
]
Networks = Annotated[
    list[str] | None,
    typer.Option("--network", "-n", metavar="NAME", help="Network.", show_default="resnet32", rich_help_panel=WHAT),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method", "-m", metavar="NAME", help="Method.", show_default="baseline and dkel", rich_help_panel=WHAT
    ),
]
BatchSizes = Annotated[
    list[int] | None,
    typer.Option(
        "--batch-size", metavar="N", min=2, help="Images in a batch.", show_default="128", rich_help_panel=WHAT
    ),
]
Views = Annotated[
    list[str] | None,
    typer.Option(
        "--views", metavar="VALUE", help="The methods' setting views.", show_default=False, rich_help_panel=WHAT
    ),
]
Peers = Annotated[
    list[int] | None,
    typer.Option("--peers", metavar="N", help="The methods' setting peers.", show_default=False, rich_help_panel=WHAT),
]
SharingOption = Annotated[
    list[int] | None,
    typer.Option(
        "--jobs-per-device",
        metavar="N",
        min=1,
        help="Runs of ours that share the device in turns.",
        show_default="1",
        rich_help_panel=WHAT,
    ),
]
Rivals = Annotated[
    list[ComparedLoop] | None,
    typer.Option(
        "--against",
        metavar="as-published|fair-eager",
        help="A loop to compare with.",
        show_default="both",
        rich_help_panel=WHAT,
    ),
]
Subset = Annotated[
    int | None,
    typer.Option(
        "--subset", metavar="N", min=1, help="Train on N images only.", show_default=False, rich_help_panel=WHAT
    ),
]
Blocks = Annotated[
    int | None,
    typer.Option("--blocks", metavar="N", min=1, help="Blocks of each loop.", show_default="5", rich_help_panel=EFFORT),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        metavar="N",
        min=1,
        help="Steps of a block.",
        show_default="200 on a GPU, 3 on a CPU",
        rich_help_panel=EFFORT,
    ),
]
WholeEpochs = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        metavar="N",
        min=0,
        help="Also time N whole epochs.",
        show_default="1 on a GPU, 0 on a CPU",
        rich_help_panel=EFFORT,
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers", metavar="N", min=0, help="Loader processes of the loop as published.", rich_help_panel=EFFORT
    ),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Only two blocks of two steps, as a quick trial.", rich_help_panel=EFFORT)
]
Count = Annotated[
    bool,
    typer.Option(
        "--count",
        help="Time nothing: count the operations of a step and of the evaluation of a batch, as recorded on a GPU.",
        rich_help_panel=WHAT,
    ),
]


RecipeOption = Annotated[
    str | None, options.one_recipe("A recipe whose trainings are timed in turns.", "combinations of the options")
]


@grouped
def bench(
    computation: ComputationOptions,
    places: Places,
    recipe: RecipeOption = None,
    dataset: Datasets = None,
    network: Networks = None,
    method: Methods = None,
    batch_size: BatchSizes = None,
    views: Views = None,
    peers: Peers = None,
    jobs_per_device: SharingOption = None,
    subset: Subset = None,
    against: Rivals = None,
    blocks: Blocks = None,
    steps: Steps = None,
    epochs: WholeEpochs = None,
    workers: Workers = 4,
    quick: Quick = False,
    count: Count = False,
    device: options.DeviceOption = "auto",
    format: options.ReportFormatOption = None,
    output: options.OutputOption = None,
) -> None:
    """Time training here, beside a loop as published and a careful eager one.

    The loops take turns in one process on the same images, so that a machine
    that slows down slows all of them. Measurements are saved in
    RESULTS/bench/DEVICE, where show --cost finds them, except with --quick.
    With RECIPE one run of each of its trainings takes turns with the others:
    how much longer a step of each method takes than that of the first.

    Examples:
      okdbench bench
      okdbench bench quickstart
      okdbench bench dkel-table1 -d cifar100 -n resnet32
      okdbench bench -n resnet32 -m dkel --batch-size 64 --batch-size 128
      okdbench bench -m dkel --peers 2 --peers 3 --peers 4 --against fair-eager
      okdbench bench -m baseline --jobs-per-device 1 --jobs-per-device 3
      okdbench bench --quick --format markdown -o bench.md
      okdbench bench -m dkel --count --format json
    """
    let_threads_sleep()
    from okdbench.bench import BenchGrid, cases
    from okdbench.recipe import parse_value

    form = chosen_format(format, output)
    measurer = partial(_Measurer, device, places, computation.execution(), (quick, blocks, steps, epochs))
    settings = {"views": [parse_value(value) for value in views or ()], "peers": peers or []}
    if recipe is not None:
        _refuse(**settings, batch_size=batch_size, jobs_per_device=jobs_per_device, against=against)
        _refuse(epochs=epochs, count=count)
        part = Choices(dataset, network, method, subset=subset).plan(recipe, places.data)
        write_content(measurer().in_turns(part), form, output)
        return
    names = dataset or ["cifar100"], network or ["resnet32"], method or ["baseline", "dkel"]
    chosen = cases(BenchGrid(*names, batch_size or [128], settings, subset), places.data)
    if count:
        write_content(_count(chosen, places.data), form, output)
    else:
        write_content(measurer(workers, against).each(chosen, jobs_per_device or [1]), form, output)


def _refuse(**options: object) -> None:
    """Raise UsageError for an option that a recipe leaves no room for."""
    for name, value in options.items():
        if value:
            option = name.replace("_", "-")
            raise UsageError(f"--{option}: a recipe's steps are timed as it has them; leave the option out")


def _count(chosen: "list[RunConfig]", data: Path) -> "OperationsReport":
    """Count on the CPU: the operations are the same everywhere."""
    import torch

    from okdbench.bench import TimedRun, count_operations
    from okdbench.report.bench import OperationsReport

    return OperationsReport([count_operations(TimedRun(config, data, torch.device("cpu"))) for config in chosen])


class _Measurer:
    """Times runs in the same way, and saves the measurements unless they are quick."""

    def __init__(
        self,
        device: str,
        places: Places,
        execution: Execution,
        effort: tuple[bool, int | None, int | None, int | None],
        workers: int = 0,
        against: list[ComparedLoop] | None = None,
    ) -> None:
        import torch

        from okdbench.bench import LOOPS, Effort
        from okdbench.plan.jobs import find_device
        from okdbench.training.computation import require_supported

        self._device, self._places = torch.device(find_device(device)), places
        self._execution, self._workers = execution, workers
        require_supported(execution, self._device)
        self._against = list(against or LOOPS)
        self._effort, self._saves = Effort.chosen(self._device, *effort), not effort[0]

    def each(self, chosen: "Sequence[RunConfig]", jobs: Sequence[int]) -> "SpeedReport":
        """Time one run after another, each with every number of ``jobs`` that share the device."""
        from okdbench.report.bench import SpeedReport

        return SpeedReport([self._saved(self._measure(config, number)) for config, number in product(chosen, jobs)])

    def in_turns(self, plan: "AnyPlan") -> "RecipeSpeedReport":
        """Time one run of each training of a recipe, without those whose teacher is not trained here."""
        from okdbench.bench import TimedRun, time_runs
        from okdbench.plan import Plan
        from okdbench.report.bench import RecipeSpeedReport
        from okdbench.runs.folder import RunFolder

        name, folder = plan.recipe.name, self._places.results / plan.recipe.name
        if not isinstance(plan, Plan) or not plan.trainings:
            raise UsageError(f"{name}: none of what is selected trains a method, so there are no steps to time")
        ready = []
        for run in plan.trainings:
            absent = [each for each in run.needs if not RunFolder(folder / each.config.folder).weights.exists()]
            if absent:
                print_to_stderr(f"{run.title}: left out, since what it needs is not trained: {absent[0].title}")
            else:
                ready.append(run)
        if not ready:
            raise UsageError(f"{name}: what the selected trainings need is not trained; train it, or select others")
        how = self._places.data, self._device, 0, self._execution, folder
        timed = [TimedRun(run.config.source, *how) for run in ready]
        with _explained("a method cannot be recorded"):
            measured = time_runs(timed, self._effort, lambda line: print_to_stderr(f"  {line}"))
        return RecipeSpeedReport(plan.recipe.title, ready, list(map(self._saved, measured)))

    def _saved(self, measurement: "Measurement") -> "Measurement":
        from okdbench.bench import save_measurement

        if self._saves:
            print_to_stderr(f"  {save_measurement(self._places.results, measurement)} written")
        return measurement

    def _measure(self, config: "RunConfig", jobs: int) -> "Measurement":
        from okdbench.bench import TimedRun, time_loops

        sharing = f", {jobs} runs in turns" if jobs > 1 else ""
        print_to_stderr(
            f"{config.dataset} {config.network} {config.method}, batches of {config.training.batch_size}{sharing}"
        )
        execution = replace(self._execution, jobs=jobs)
        run = TimedRun(config, self._places.data, self._device, self._workers, execution)
        with _explained(config.method):
            return time_loops(run, self._effort, self._against, lambda line: print_to_stderr(f"  {line}"))


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Say how to go on where a graph fails."""
    try:
        yield
    except GraphError as error:
        raise UsageError(f"{what}: {error}; choose another --backend") from error

"""``okdbench bench``: how fast training is here."""

from enum import StrEnum
from typing import Annotated

import typer

from okdbench.cli import options
from okdbench.cli.audit import Form, FormOption
from okdbench.cli.output import complain, console, write
from okdbench.cli.run import Device

WHAT = "What is timed (repeat an option to time every combination)"
EFFORT = "How long"


class Rival(StrEnum):
    """What ours is compared with."""

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
    typer.Option("--batch-size", metavar="N", min=2, help="Batch.", show_default="128", rich_help_panel=WHAT),
]
Views = Annotated[
    list[str] | None,
    typer.Option(metavar="VALUE", help="The methods' setting views.", show_default=False, rich_help_panel=WHAT),
]
Peers = Annotated[
    list[int] | None,
    typer.Option(metavar="N", help="The methods' setting peers.", show_default=False, rich_help_panel=WHAT),
]
Rivals = Annotated[
    list[Rival] | None,
    typer.Option("--against", help="What to compare with.", show_default="both", rich_help_panel=WHAT),
]
Blocks = Annotated[
    int | None, typer.Option(min=1, help="Blocks of each loop.", show_default="5", rich_help_panel=EFFORT)
]
Steps = Annotated[
    int | None,
    typer.Option(min=1, help="Steps of a block.", show_default="200 on a GPU, 3 on a CPU", rich_help_panel=EFFORT),
]
WholeEpochs = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        min=0,
        help="Also time so many whole epochs.",
        show_default="1 on a GPU, 0 on a CPU",
        rich_help_panel=EFFORT,
    ),
]
Workers = Annotated[int, typer.Option(min=0, help="Loader processes of the loop as published.", rich_help_panel=EFFORT)]
Quick = Annotated[
    bool, typer.Option("--quick", help="Two blocks of two steps, to see that it works.", rich_help_panel=EFFORT)
]


def bench(
    dataset: Datasets = None,
    network: Networks = None,
    method: Methods = None,
    batch_size: BatchSizes = None,
    views: Views = None,
    peers: Peers = None,
    subset: options.Subset = None,
    against: Rivals = None,
    blocks: Blocks = None,
    steps: Steps = None,
    epochs: WholeEpochs = None,
    workers: Workers = 4,
    quick: Quick = False,
    device: Device = "auto",
    results: options.Results = options.RESULTS,
    data: options.Data = options.DATA,
    format: FormOption = Form.text,
    output: options.File = None,
) -> None:
    """Time training here, beside a loop as published and a careful eager one.

    The loops take turns in one process on the same images, so that a machine
    that slows down slows all of them. Measurements are kept in
    RESULTS/bench/DEVICE, where show --cost finds them; those of --quick are
    not.

    Examples:
      okdbench bench
      okdbench bench -n resnet32 -m dkel --batch-size 64 --batch-size 128
      okdbench bench -m dkel --peers 2 --peers 3 --peers 4 --against fair-eager
      okdbench bench --quick --format markdown -o bench.md
    """
    import torch

    from okdbench.bench import LOOPS, Effort, Setting, Wanted, cases, measure, save
    from okdbench.engines import find_device
    from okdbench.recipe import parse_value
    from okdbench.report.bench import bench_json, bench_markdown, bench_text

    where = torch.device(find_device(device))
    wanted = Wanted(
        datasets=dataset or ["cifar100"],
        networks=network or ["resnet32"],
        methods=method or ["baseline", "dkel"],
        batch_sizes=batch_size or [128],
        settings={"views": [parse_value(value) for value in views or ()], "peers": peers or []},
        subset=subset,
    )
    effort = Effort.chosen(where, quick, blocks, steps, epochs)
    measurements = []
    for config in cases(wanted, data):
        complain(f"{config.dataset} {config.network} {config.method}, batches of {config.training.batch_size}")
        setting = Setting(config, data, where, workers)
        measurements.append(measure(setting, effort, against or list(LOOPS), lambda line: complain(f"  {line}")))
        if not quick:
            complain(f"  {save(results, measurements[-1])} written")
    if format is Form.json:
        write(bench_json(measurements), output)
    elif format is Form.markdown:
        write(bench_markdown(measurements), output)
    else:
        screen = console()
        to_screen = output is None and screen.is_terminal
        write(bench_text(measurements, screen.width if to_screen else None, colour=to_screen), output)

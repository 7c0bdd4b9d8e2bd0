"""``okdbench plan``: what of a recipe can be trained in some hours, and what that can tell."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from okdbench.cli import options
from okdbench.cli.options import Choices, Places, TextOrJson, command, grouped
from okdbench.cli.output import say, say_fields, say_json, say_wrapped
from okdbench.cli.plans import SOURCES, lasting
from okdbench.errors import UsageError
from okdbench.words import count

if TYPE_CHECKING:
    from okdbench.plan import Plan
    from okdbench.plan.budget import Part
    from okdbench.results.detection import SeedNoise

NOTHING_FITS = 1

Hours = Annotated[float, typer.Option("--hours", metavar="HOURS", min=0, help="How long training may take.")]
Device = Annotated[
    str | None,
    typer.Option(
        "--on", metavar="DEVICE", help="A device whose speed is known, by its name.", show_default="this machine's"
    ),
]


@grouped
def plan(
    recipe: options.RecipeName,
    hours: Hours,
    choices: Choices,
    places: Places,
    on: Device = None,
    format: options.FormatOption = TextOrJson.text,
) -> None:
    """Find the largest fair part of a recipe that can be trained in some hours.

    Fair: all methods on the same data sets and networks with the same seeds.
    Finished runs cost nothing. The hours come from okdbench bench, else from
    the speed of finished runs, else from a model of one GPU. Exit status 1 if
    nothing fits.

    Examples:
      okdbench plan dkel-table1 --hours 8
      okdbench plan dkel-table1 --hours 8 -m baseline -m dkel
      okdbench plan fair-cifar100 --hours 2 --epochs 10 --subset 2000
    """
    from okdbench.plan import Plan
    from okdbench.plan.budget import largest_part
    from okdbench.plan.forecast import MODEL, clocks
    from okdbench.plan.jobs import plan_jobs
    from okdbench.results.detection import seed_noise

    chosen = choices.plan(recipe, places.data)
    if not isinstance(chosen, Plan):
        raise UsageError(f"{recipe}: trains no networks, so there are no hours to plan; see: {command('show', recipe)}")
    known = {clock.device: clock for clock in (*clocks(places.results), MODEL)}
    clock = known.get(on) if on else next(iter(known.values()))
    if clock is None:
        raise UsageError(f'--on "{on}": its speed is not known; choose from: {", ".join(known)}')
    part = largest_part(chosen, plan_jobs(chosen, places.results), hours, clock)
    cells = tuple(c for c in chosen.cells if c.dataset in part.datasets and c.network in part.networks)
    noise = seed_noise(replace(chosen, cells=cells), places.results)
    words = _words(recipe, choices, part, places)
    if format is TextOrJson.json:
        facts = {
            "hours": hours,
            "device": clock.device,
            "source": clock.source,
            "part": asdict(part),
            "fits": part.hours <= hours,
            "noise": asdict(noise) if noise else None,
            "detectable": noise.detectable(len(part.seeds)) if noise else None,
            "command": words,
        }
        say_json("okdbench.plan/1", facts)
    else:
        say_wrapped(f"hours on {clock.device}, one run at a time, {SOURCES[clock.source]}")
        _print(chosen, part, hours, noise)
        say(f"run: {words}" if part.hours <= hours else _smaller(recipe, hours, choices, chosen, places))
    if part.hours > hours:
        raise typer.Exit(NOTHING_FITS)


def _print(plan: "Plan", part: "Part", hours: float, noise: "SeedNoise | None") -> None:
    whole = f"{count(part.runs, 'run')} of {len(plan.runs)}"
    fits = part.hours <= hours
    methods = dict.fromkeys(str(cell.method) for cell in plan.cells)
    say(f"{whole}: about {lasting(part.hours)}" + ("" if fits else "; nothing smaller is fair"))
    say_fields(
        [
            ("data sets", ", ".join(part.datasets)),
            ("networks", ", ".join(part.networks)),
            ("methods", ", ".join(methods)),
            ("seeds", ", ".join(map(str, part.seeds))),
        ]
    )
    seeds = len(part.seeds)
    if seeds < 2:
        say_wrapped("A single seed says nothing about differences between methods.")
    elif noise is None:
        say_wrapped("Which difference that detects is not known: no cell has two runs, and the paper prints no ±.")
    elif (least := noise.detectable(seeds)) is not None:
        where = "the paper's printed ±" if noise.source == "paper" else "finished runs"
        say_wrapped(
            f"n = {seeds} seeds detect a difference of {least:.2f} points between two methods (paired t-test at 5 %, "
            f"power 80 %), if seeds vary by ± {noise.std:.2f} as in {where} ({count(noise.cells, 'cell')})."
        )


def _smaller(recipe: str, hours: float, choices: Choices, plan: "Plan", places: Places) -> str:
    epochs = max(run.config.epochs for run in plan.runs)
    reduced = replace(choices, epochs=max(epochs // 10, 1)).arguments()
    example = command("plan", recipe, "--hours", f"{hours:g}", *reduced, *places.arguments())
    return f"choose fewer methods with -m, or a reduced training, such as: {example}"


def _words(recipe: str, choices: Choices, part: "Part", places: Places) -> str:
    """Return the command that trains the part."""
    narrowed = replace(choices, datasets=list(part.datasets), networks=list(part.networks), seeds=list(part.seeds))
    return command("run", recipe, *narrowed.arguments(), *places.arguments())

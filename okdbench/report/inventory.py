"""The index of a results folder: what was trained, where, for how long, and with which command."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from okdbench.config import LearningConfig
from okdbench.report.model import Appendix, Document, Listing, unique
from okdbench.results.inventory import Holding
from okdbench.words import count

HEADINGS = ("Recipe", "Trained", "Computed on", "Versions", "Runs", "Hours")


@dataclass(frozen=True)
class Inventory:
    """See `okdbench.report.formats.Content`; ``damaged`` has a line for each run that could not be read."""

    schema: ClassVar[str] = "okdbench.index/1"
    holdings: Sequence[Holding]
    damaged: Sequence[str] = ()

    def documents(self) -> list[Document]:
        """Return one document: a row for each recipe and change, and the commands below."""
        rows = tuple(_cells(each) for each in self.holdings)
        table = Listing("Finished runs", HEADINGS, rows, 2, keys=1)
        runs = sum(len(each.records) for each in self.holdings)
        source = (
            f"{count(runs, 'finished run')}, {sum(each.hours for each in self.holdings):.1f} hours one after the other."
        )
        legend = ["With these commands they were trained; report in place of run shows what came out."]
        legend += [line for each in self.holdings for line in _commands(each)]
        return [Document("Index of the results", source, "Index of the results", (table,), (), tuple(legend))]

    def appendices(self) -> list[Appendix]:
        """Return an empty one."""
        return [Appendix()]

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary for each recipe and change."""
        return [_facts(each) for each in self.holdings]

    def facts(self) -> dict[str, Any]:
        """Return an object with a list ``holdings`` and the lines on damaged runs."""
        return {"holdings": self.rows(), "damaged": list(self.damaged)}


def _cells(holding: Holding) -> tuple[str, ...]:
    facts = _facts(holding)
    seeds = facts["seeds"]
    trained = [
        *facts["datasets"],
        *facts["networks"],
        f"{len(facts['methods'])} methods" if len(facts["methods"]) > 1 else "".join(facts["methods"]),
        f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}",
        *(
            [f"{' or '.join(map(str, facts['epochs']))} epoch{'s' * (facts['epochs'] != [1])}"]
            if facts["epochs"]
            else ()
        ),
    ]
    versions = [f"okdbench {', '.join(facts['okdbench'])}", f"torch {', '.join(facts['torch'])}"]
    versions += [f"commit {', '.join(commit[:10] for commit in facts['commits'])}"] if facts["commits"] else []
    of = "" if holding.planned in (None, len(holding.records)) else f" of {holding.planned}"
    return (
        holding.recipe + (" (changed)" if facts["changed"] else ""),
        ", ".join(filter(None, trained)),
        "; ".join(facts["computed"]),
        "; ".join(versions),
        f"{len(holding.records)}{of}",
        f"{holding.hours:.1f}",
    )


def _commands(holding: Holding) -> list[str]:
    if holding.selection is None:
        runs = count(len(holding.records), "run")
        return [f"{holding.recipe}: {runs} that no setting of a recipe known here explains."]
    words = [holding.recipe, *holding.selection.options()]
    return [f"okdbench run {shlex.join(words)}"]


def _facts(holding: Holding) -> dict[str, Any]:
    configs = [record.config for record in holding.records]
    learning = [config for config in configs if isinstance(config, LearningConfig)]
    environments = [dict(record.environment) for record in holding.records]

    def each(value: Callable[[LearningConfig], Any]) -> list[Any]:
        return unique(map(value, learning))

    def recorded(key: str) -> list[str]:
        return unique(str(found[key]) for found in environments if found.get(key) is not None)

    selection = holding.selection
    return {
        "recipe": holding.recipe,
        "title": holding.title,
        "changed": dict(selection.settings) if selection else {},
        "options": selection.options() if selection else None,
        "runs": len(holding.records),
        "planned": holding.planned,
        "hours": holding.hours,
        "datasets": each(lambda config: config.dataset),
        "networks": each(lambda config: config.network),
        "methods": each(lambda config: config.method),
        "seeds": sorted(each(lambda config: config.seed)),
        "epochs": sorted(each(lambda config: config.epochs)),
        "computed": unique(map(_computed, environments)),
        "okdbench": recorded("okdbench"),
        "torch": recorded("torch"),
        "commits": recorded("git_commit"),
        "ids": [record.id for record in holding.records],
    }


def _computed(environment: dict[str, Any]) -> str:
    """Return device, precision and threads in words."""
    threads = environment.get("threads")
    told = [environment.get("device_name"), environment.get("precision")]
    told += [count(threads, "thread")] if threads and environment.get("device") == "cpu" else []
    return ", ".join(map(str, filter(None, told)))

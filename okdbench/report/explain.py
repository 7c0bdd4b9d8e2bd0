"""Where a number of a table comes from: its runs and their values, formulas with numbers, tests, and commands."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import scipy  # its parts are loaded when they are used

from okdbench.errors import UsageError, did_you_mean
from okdbench.plan import Run
from okdbench.recipe import available
from okdbench.recipe.axes import DEFAULT_READING, NAMED_AXES, READING
from okdbench.report import numbers
from okdbench.report.grid import details
from okdbench.report.legend import sentence
from okdbench.report.model import Appendix, Document, Listing, MeasuredTable, unique
from okdbench.report.numbers import DASH
from okdbench.results.cells import CellResult
from okdbench.results.curves import curves
from okdbench.results.protocol import describe_protocol, read_from
from okdbench.results.stats import SIGNIFICANCE
from okdbench.runs.folder import RunFolder
from okdbench.words import count

MOST_CELLS = 8
"""The most cells that are explained at once."""
SEPARATORS = " ,/|:"
TOLD = ("Verdict", "Measured", "95% interval", "By seed", "Difference", "Runs", "Computed on", "Protocol")
"""Details of a cell that the explanation tells in another way."""


@dataclass(frozen=True)
class Explanation:
    """How the numbers of some cells of a table come about; see `okdbench.report.formats.Content`.

    ``folder`` is that of the recipe's runs.
    """

    schema: ClassVar[str] = "okdbench.explanation/1"
    table: MeasuredTable
    cells: tuple[CellResult, ...]
    folder: Path

    def documents(self) -> list[Document]:
        """Return a document for each cell: what it is, its runs, and the formulas with their numbers."""
        return [self._document(each) for each in self.cells]

    def appendices(self) -> list[Appendix]:
        """Return empty ones."""
        return [Appendix() for _ in self.cells]

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary for each run of each cell."""
        return [{"cell": str(each.cell.key), **run} for each in self.cells for run in self._runs(each)]

    def facts(self) -> dict[str, Any]:
        """Recipe, and ``cells``, each with its runs, its numbers and tests, the formulas in words, and commands."""
        return {"recipe": self.table.plan.recipe.name, "cells": [self._facts(each) for each in self.cells]}

    def _facts(self, result: CellResult) -> dict[str, Any]:
        compared, reported = result.comparison, result.cell.reported
        return {
            **result.cell.facts,
            "verdict": result.verdict,
            "metric": result.metric,
            "head": result.head,
            "epoch": result.epoch,
            "chosen": str(result.chosen or ""),
            "summary": asdict(result.summary),
            "reported": asdict(reported) if reported else None,
            "comparison": asdict(compared) if compared else None,
            "margin": self.table.plan.recipe.margin,
            "runs": self._runs(result),
            "steps": list(self._steps(result)),
            "commands": self._commands(result),
        }

    def _document(self, result: CellResult) -> Document:
        cell, table = result.cell, self.table
        known = [each for each in details(table, result) if each[0] not in TOLD]
        place = (("Data set", cell.dataset), ("Network", cell.network), ("Method", str(cell.method)))
        named = [(axis, self._both(value)) for axis, value in place]
        named += [(axis, str(value)) for axis, value in cell.settings]
        named += [("Reading", self._both(cell.reading))] if cell.reading != DEFAULT_READING else []
        rows = [
            (str(run["seed"]), run["state"], run["head"], run["epoch"], run["folder"], run["value"])
            for run in self._runs(result)
        ]
        shown = tuple((*map(str, row[:-1]), DASH if row[-1] is None else f"{row[-1]:.4f}") for row in rows)
        headings = ("Seed", "State", "Head", "Epoch", "Folder", "Value")
        title = f"{numbers.spread(result)}: {' / '.join(self._name(each) for each in cell.key[:3])}"
        return Document(
            title=title,
            source="",
            caption=title,
            tables=(Listing("Cell", ("", ""), (*named, *known), 0), Listing("Runs", headings, shown, 1, keys=1)),
            details=(),
            legend=(*self._steps(result), *self._again(result)),
        )

    def _name(self, value: Any) -> str:
        return self.table.label(value)

    def _both(self, value: Any) -> str:
        """Return what the user calls a value, and in brackets what the paper calls it."""
        name = self._name(value)
        return str(value) if name == value else f"{value} ({name})"

    def _runs(self, result: CellResult) -> list[dict[str, Any]]:
        return [self._run(run, result) for run in result.cell.runs]

    def _run(self, run: Run, result: CellResult) -> dict[str, Any]:
        """Return the number of one run, and from where in its metrics it is."""
        folder = RunFolder(self.folder / run.config.folder)
        state = folder.state
        value = result.by_seed.get(run.seed)
        head, epoch, record = "", "", None
        if value is not None:
            record, shown = folder.learned, curves(folder)
            if not result.is_rate:
                chooser = shown.validation if run.config.data.validation else None
                head, epoch = read_from(shown.test, result.head, result.epoch, chooser)
        return {
            "seed": run.seed,
            "run": run.id,
            "state": state.value,
            "head": head,
            "epoch": epoch,
            "folder": str(folder),
            "value": value,
            "hours": record.hours if record else None,
            "computed": record.compute_summary if record else "",
        }

    def _again(self, result: CellResult) -> Iterator[str]:
        for what, command in zip(("train again", "show"), self._commands(result), strict=True):
            yield f"{what}: {command}"

    def _commands(self, result: CellResult) -> list[str]:
        """Return the commands that train the runs of the cell again and show it."""
        recipe = self.table.plan.recipe.name
        recipe = recipe if recipe in available() else f"{recipe}.yaml"
        cell = result.cell
        selection = replace(
            self.table.plan.selection, datasets=(cell.dataset,), networks=(cell.network,), methods=(str(cell.method),)
        )
        words = [recipe, *selection.options()]
        return [f"okdbench {shlex.join(command)}" for command in (["run", *words, "--force"], ["report", *words])]

    def _steps(self, result: CellResult) -> Iterator[str]:
        """How the printed number and its verdict follow from the values, step by step."""
        if not result.is_rate:
            error = "; error: 100 minus the accuracy" if result.metric == "error" else ""
            chosen = f"; {result.chosen} by its accuracy" if result.chosen else ""
            yield f"value of a run: {describe_protocol(result.head, result.epoch)}{chosen}{error}; epochs count from 0."
        yield from _mean(result)
        yield from self._test(result)
        yield f"verdict: {sentence(self.table, result).partition(': ')[2]}."

    def _test(self, result: CellResult) -> Iterator[str]:
        """The test against the printed number and the rule of the verdict."""
        reported, compared = result.cell.reported, result.comparison
        if not reported or not compared:
            return
        theirs = numbers.number(reported.mean, reported.std) + (f" (n = {reported.n})" if reported.n else "")
        yield (
            f"difference: {result.summary.mean:.2f} - {reported.mean:.2f} = {numbers.difference(compared.difference)}, "
            f"ours minus the paper's {theirs}."
        )
        if compared.p_value is None:
            if result.summary.n > 1:
                yield f"test: none, as all {result.summary.n} runs are equal, which tells nothing of the spread."
            return
        why = "gives its standard deviation and n" if compared.test == "Welch" else "lacks a standard deviation or n"
        yield f"test: {compared.test} t-test, as the paper {why}: p {numbers.equality(compared.p_value)}."
        if compared.holm_p_value is None:
            return
        tests = sum(r.comparison.holm_p_value is not None for r in self.table.cells if r.comparison)
        yield (
            f"Holm p: corrected for the {count(tests, 'complete cell')} of this report: "
            f"{numbers.p_value(compared.holm_p_value)}; the verdict is by p."
        )
        margin = self.table.plan.recipe.margin
        yield (
            f"rule: higher or lower where p is below {SIGNIFICANCE:g}; else reproduced within {margin:g} points of the "
            "paper, and inconclusive beyond."
        )


def _mean(result: CellResult) -> Iterator[str]:
    """Mean, standard deviation and interval with their numbers."""
    summary, values = result.summary, result.values
    if summary.mean is None:
        return
    if result.is_rate:
        counted = f"{result.collapsed} of {len(values)} runs collapsed"
        interval = numbers.between(summary, "{:.1f} to {:.1f}")
        yield f"rate: {counted}: {summary.mean:.1f} percent; Wilson's 95% interval: {interval}."
        return
    listed = " + ".join(f"{value:.4f}" for value in values)
    yield f"mean: ({listed}) / {summary.n} = {summary.mean:.4f}."
    if summary.std is None or summary.ci95 is None:
        yield "a single run has no standard deviation, interval or test."
        return
    squares = " + ".join(f"({round(value - summary.mean, 4) + 0.0:+.4f})²" for value in values)
    yield f"standard deviation: √(({squares}) / {summary.n - 1}) = {summary.std:.4f}."
    quantile = float(scipy.special.stdtrit(summary.n - 1, 0.975))
    cut = ", cut at 0 or 100 percent" if summary.cut else ""
    yield (
        f"95% interval: mean ± t({summary.n - 1}) · std / √n = {summary.mean:.4f} ± {quantile:.4f} · {summary.std:.4f} "
        f"/ √{summary.n} = {numbers.between(summary, '{:.2f} to {:.2f}')}{cut}."
    )


def named_cells(table: MeasuredTable, text: str) -> tuple[CellResult, ...]:
    """Return the cells that a text names, as the user or the paper writes it: ``resnet32 DKEL``.

    Raise UsageError, with the names that there are, if it names none or too many.
    """
    found = tuple(each for each in table.cells if _fits(text.casefold().strip(SEPARATORS), _names(table, each)))
    if 0 < len(found) <= MOST_CELLS:
        return found
    axes = {axis: unique(name for each in table.cells for name in _names(table, each)[axis][:1]) for axis in _AXES}
    told = "; ".join(f"{axis}s: {', '.join(names)}" for axis, names in axes.items() if len(names) > 1)
    if found:
        raise UsageError(f'--explain "{text}": names {len(found)} cells; name one with its {told}')
    every = [name for each in table.cells for names in _names(table, each).values() for name in names]
    unknown = [word for word in text.split() if not any(word.casefold() in name.casefold() for name in every)]
    hint = f"{meant} " if unknown and (meant := did_you_mean(unknown[0], set(every))).endswith("?") else ""
    raise UsageError(f'--explain "{text}": no cell has that name; {hint}{told}')


_AXES = (*NAMED_AXES, READING)


def _names(table: MeasuredTable, result: CellResult) -> dict[str, list[str]]:
    """Return what a cell may be called on each axis: the recipe's name first, then the paper's."""
    cell = result.cell
    names = {axis: [str(cell.value(axis)), table.label(cell.value(axis))] for axis in _AXES}
    return names | {axis: [f"{axis}={value}", f"{axis.partition('.')[2]}={value}"] for axis, value in cell.settings}


def _fits(text: str, names: dict[str, list[str]]) -> bool:
    """Return whether a text consists of names of the cell, at most one on each axis."""
    if not text:
        return True
    for axis, known in names.items():
        for name in (each.casefold() for each in known):
            rest = text[len(name) :]
            if text.startswith(name) and (not rest or rest[0] in SEPARATORS):
                others = {other: each for other, each in names.items() if other != axis}
                if _fits(rest.lstrip(SEPARATORS), others):
                    return True
    return False

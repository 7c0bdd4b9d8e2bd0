"""The report of a table: measured cells beside the numbers that the paper prints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from okdbench.errors import UsageError
from okdbench.plan import Plan, Selection
from okdbench.plan.expansion import expand_table
from okdbench.report import grid
from okdbench.report.appendix import audited, commands, environment_listing
from okdbench.report.charts import Chart, all_charts
from okdbench.report.charts.figure import chart
from okdbench.report.explain import Explanation, named_cells
from okdbench.report.legend import citation, legend, sentence
from okdbench.report.model import Appendix, Choice, Document, MeasuredTable, PrintedTable, unique
from okdbench.report.paper import paper_document
from okdbench.results.cells import CellResult, evaluate_cells, evaluate_heads
from okdbench.results.ranks import rank_methods
from okdbench.runs.folder import RunFolder
from okdbench.runs.hashes import kept_hashes
from okdbench.runs.records import LearnedRecord


@dataclass(frozen=True)
class TableReport(MeasuredTable):
    """See `okdbench.kinds.AnyReport`."""

    @classmethod
    def of(cls, plan: Plan, results: Path, choice: Choice = "recipe") -> Self:
        """Measure the plan's cells from the runs under ``results``; raise UsageError naming a damaged file."""
        cells = evaluate_heads(plan, results) if choice == "all" else evaluate_cells(plan, results, choice)
        return cls(plan, choice, cells, results)

    def document(self) -> Document:
        """Return the paper's table, the statistics cell by cell, and the legend."""
        recipe, every_head = self.plan.recipe, self.choice == "all"
        tables = (grid.head_by_head(self) if every_head else grid.lay_out(self),)
        details = (grid.cell_by_cell(self), grid.paired_differences(self), grid.average_ranks(self))
        return Document(
            title=recipe.title,
            source=citation(recipe.source),
            caption=recipe.table.caption or recipe.title,
            tables=tables,
            details=() if every_head else tuple(each for each in details if each.rows),
            legend=legend(self),
            name=recipe.name,
            emphasis="".join(grid.said_places(self, table) for table in tables if isinstance(table, PrintedTable)),
        )

    def paper(self) -> Document:
        """Return the table of our numbers, how they were made, and the works to cite; UsageError for every head."""
        if self.choice == "all":
            raise UsageError("--style paper: shows one number for each cell; leave out --protocol all")
        return paper_document(self, self._records())

    def explanation(self, cell: str) -> Explanation:
        """Return how the numbers of the cells that ``cell`` names come about; raise UsageError where it names none."""
        if self.choice == "all":
            raise UsageError("--explain: traces one number for each cell; leave out --protocol all")
        return Explanation(self, named_cells(self, cell), self.results / self.plan.recipe.name)

    def appendix(self) -> Appendix:
        """Return all figures, the audit of its printed numbers, the environment of its runs, and commands."""
        return Appendix(
            tuple(self.charts().values()),
            audited(self.plan.recipe, self._whole_table()),
            environment_listing(self._records()),
            commands(self.plan, self.choice),
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary per cell (and protocol): percent in the paper's metric, None without a number."""
        return [self._row(result) for result in self.cells]

    def facts(self) -> dict[str, Any]:
        """Recipe, title, source, protocol choice, margin, the rows as ``cells``, and the ``ranks`` in each reading."""
        recipe, ranked = self.plan.recipe, () if self.choice == "all" else rank_methods(self.cells)
        return {
            "recipe": recipe.name,
            "title": recipe.title,
            "source": citation(recipe.source),
            "protocol": str(self.choice),
            "margin": recipe.margin,
            "cells": self.rows(),
            "ranks": [
                {
                    "reading": ranks.reading,
                    "methods": [
                        {**cell.facts["settings"], "method": cell.method, "rank": rank} for cell, rank in ranks.methods
                    ],
                    "unit": ranks.unit,
                    "blocks": ranks.blocks,
                    "friedman_p_value": ranks.p_value,
                    "critical_difference": ranks.critical_difference,
                }
                for ranks in ranked
            ],
        }

    def chart(self) -> Chart | None:
        """Return the figure that the recipe asks for; None if it asks for none or nothing is measured yet."""
        return chart(self)

    def charts(self) -> dict[str, Chart]:
        """Return every figure that the records allow, by the name of its kind."""
        return all_charts(self)

    def checks(self) -> list[tuple[bool, str]]:
        """Return for each cell with a printed number whether it is reproduced, and the cell in one line."""
        return [(r.verdict == "reproduced", sentence(self, r)) for r in self.cells if r.cell.reported]

    def _whole_table(self) -> tuple[CellResult, ...]:
        """Return all cells of the recipe under its own protocol, which its claims are about."""
        if self.choice == "recipe" and self.plan.selection == Selection():
            return self.cells
        return evaluate_cells(expand_table(self.plan.recipe, Selection()), self.results)

    def _records(self) -> list[LearnedRecord]:
        """Return the records of the runs that are done and whole."""
        results = self.results / self.plan.recipe.name
        folders = (RunFolder(results / run.config.folder) for run in self.plan.runs)
        with kept_hashes(results):
            records = [folder.learned for folder in folders if folder.state.done]
        return [record for record in records if record]

    def _row(self, result: CellResult) -> dict[str, Any]:
        cell, summary, reported, compared = result.cell, result.summary, result.cell.reported, result.comparison
        low, high = summary.ci95 or (None, None)
        return {
            "recipe": self.plan.recipe.name,
            "dataset": cell.dataset,
            "network": cell.network,
            "trained_network": cell.trained_network,
            "method": cell.method,
            **dict(cell.settings),
            "reading": cell.reading,
            "head": result.head,
            "epoch": result.epoch,
            "chosen": str(result.chosen or ""),
            "chosen_on_test": result.chosen_on_test,
            "metric": result.metric,
            "planned": result.planned,
            "n": summary.n,
            "diverged": result.diverged,
            "seeds": list(result.seeds),
            "values": list(result.values),
            "mean": summary.mean,
            "std": summary.std,
            "ci95_low": low,
            "ci95_high": high,
            "ci95_cut": summary.cut,
            "reported_mean": reported.mean if reported else None,
            "reported_std": reported.std if reported else None,
            "reported_n": reported.n if reported else None,
            "difference": compared.difference if compared else None,
            **_paired(result),
            "test": compared.test if compared else None,
            "p_value": compared.p_value if compared else None,
            "holm_p_value": compared.holm_p_value if compared else None,
            "seeds_needed": compared.seeds_needed if compared else None,
            "margin": self.plan.recipe.margin,
            "verdict": result.verdict,
            "changed": list(cell.changed),
            "unavailable": cell.unavailable,
            "computed": unique(how for _, how in result.computed if how),
            "runs": [run.id for run in cell.runs],
        }


def _paired(result: CellResult) -> dict[str, float | int | None]:
    """Return the difference to the recipe's reference method, paired by seed."""
    paired = result.paired
    low, high = (paired.summary.ci95 if paired else None) or (None, None)
    return {
        "paired_difference": paired.summary.mean if paired else None,
        "paired_ci95_low": low,
        "paired_ci95_high": high,
        "paired_p_value": paired.p_value if paired else None,
        "paired_exact_p_value": paired.exact_p_value if paired else None,
        "paired_least_p_value": paired.least_p_value if paired else None,
        "paired_holm_p_value": paired.holm_p_value if paired else None,
        "paired_seeds_needed": paired.seeds_needed if paired else None,
    }

"""A report for programs: one row per cell (and protocol) with every statistic, as CSV or JSON."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from okdbench.report import simulation
from okdbench.report.model import AnyReport, Report, SimulationReport, unique
from okdbench.report.words import heading
from okdbench.results.cells import CellResult


def rows(report: AnyReport) -> list[dict[str, Any]]:
    """One dictionary per measured cell; numbers in percent in the paper's metric, None where there is none."""
    if isinstance(report, SimulationReport):
        return simulation.rows(report)
    return [_row(report, result) for result in report.cells]


def to_csv(reports: Sequence[AnyReport]) -> str:
    """All rows under one header; lists are joined by spaces (``changed`` by semicolons)."""
    joined = [
        {key: _joined(value, "; " if key == "changed" else " ") for key, value in row.items()}
        for report in reports
        for row in rows(report)
    ]
    return str(pd.DataFrame(joined, dtype=object).to_csv(index=False, lineterminator="\n"))


def to_json(reports: Sequence[AnyReport]) -> str:
    """An object with a list ``reports``: recipe, title, source, protocol choice, margin, and the rows as ``cells``.

    Of a simulation: recipe, title, source, claims, and ``readings`` with settings, outcome of every claim and curves.
    """
    content = [simulation.facts(r) if isinstance(r, SimulationReport) else _facts(r) for r in reports]
    return json.dumps({"reports": content}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _facts(report: Report) -> dict[str, Any]:
    title, source = heading(report)
    return {
        "recipe": report.plan.recipe.name,
        "title": title,
        "source": source,
        "protocol": report.choice,
        "margin": report.plan.recipe.margin,
        "cells": rows(report),
    }


def _row(report: Report, result: CellResult) -> dict[str, Any]:
    cell, summary, reported, compared = result.cell, result.summary, result.cell.reported, result.comparison
    low, high = summary.ci95 or (None, None)
    return {
        "recipe": report.plan.recipe.name,
        "dataset": cell.dataset,
        "network": cell.network,
        "trained_network": cell.trained,
        "method": cell.method,
        **dict(cell.settings),
        "head": result.head,
        "epoch": result.epoch,
        "chosen": result.chosen,
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
        "reported_mean": reported.mean if reported else None,
        "reported_std": reported.std if reported else None,
        "reported_n": reported.n if reported else None,
        "difference": compared.difference if compared else None,
        **_paired(result),
        "test": compared.test if compared else None,
        "p_value": compared.p_value if compared else None,
        "margin": report.plan.recipe.margin,
        "verdict": result.verdict,
        "changed": list(cell.changed),
        "unavailable": cell.unavailable,
        "computed": unique(how for _, how in result.computed if how),
        "runs": [run.id for run in cell.runs],
    }


def _joined(value: Any, separator: str) -> Any:
    return separator.join(map(str, value)) if isinstance(value, list) else value


def _paired(result: CellResult) -> dict[str, float | None]:
    """The difference to the recipe's reference method, paired by seed."""
    paired = result.paired
    low, high = (paired.summary.ci95 if paired else None) or (None, None)
    return {
        "paired_difference": paired.summary.mean if paired else None,
        "paired_ci95_low": low,
        "paired_ci95_high": high,
        "paired_p_value": paired.p_value if paired else None,
    }

"""A table with a cell of every kind: compared, single, incomplete, diverged, empty and not there yet."""

from pathlib import Path

import fabricate
import pytest
from commandline import okdbench

from okdbench.plan import Plan
from okdbench.report import build
from okdbench.report.table import TableReport

__all__ = ["okdbench"]

NAMES = {
    "resnet8": "ResNet-8",
    "resnet32": "ResNet-32",
    "dkel": "DKEL",
    "pcl": "PCL",
    "cifar10": "C|10",
    "later": "La_ter",
}
NUMBERS = {
    ("cifar10", "resnet8", "baseline"): {"mean": 80.0, "std": 0.1, "n": 3, "trust": "low", "note": "copied"},
    ("cifar10", "resnet8", "dkel"): {"mean": 90.0, "std": 0.2},
    ("cifar10", "resnet32", "baseline"): {"mean": 85.0},
    ("cifar100", "resnet8", "baseline"): {"mean": 60.0, "std": 0.1, "n": 3},
    ("cifar100", "resnet8", "later"): {"mean": 65.0},
}
ACCURACIES = {
    ("cifar10", "resnet8", "baseline"): (80.0, 80.1, 80.2),  # reproduced
    ("cifar10", "resnet8", "dkel"): (89.0, 89.1, 89.2),  # lower
    ("cifar10", "resnet8", "pcl"): (88.0, 88.5, 89.0),  # no reported number
    ("cifar10", "resnet32", "baseline"): (86.0, 88.0, 90.0),  # inconclusive
    ("cifar100", "resnet8", "baseline"): (60.9, 61.0, 61.1),  # higher
    ("cifar100", "resnet8", "dkel"): (63.0, 64.0),  # incomplete
}


def make_plan(folder: Path) -> Plan:
    return fabricate.plan(
        folder,
        grid={
            "dataset": ["cifar10", "cifar100"],
            "network": ["resnet8", "resnet32"],
            "method": ["baseline", "pcl", "dkel", "later"],
        },
        protocol={
            "default": {"head": "student", "epoch": "best"},
            "dkel": {"head": "max(teacher?)", "epoch": "last"},
        },
        table={"rows": "network", "columns": "method", "panels": "dataset", "names": NAMES},
        reported={
            "cells": [
                {"dataset": dataset, "network": network, "method": method, **numbers}
                for (dataset, network, method), numbers in NUMBERS.items()
            ]
        },
    )


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """The plan, with its runs in ``tmp_path``."""
    plan = make_plan(tmp_path)
    for cell in plan.cells:
        values = ACCURACIES.get((cell.dataset, cell.network, cell.method), ())
        for run, value in zip(cell.runs, values, strict=False):
            heads = {"teacher0": [99.0, value], "teacher1": [10.0, 20.0]} if cell.method == "dkel" else {}
            fabricate.run(
                tmp_path, run.config, heads or {"student": [10.0, value]}, deployed=next(iter(heads), "student")
            )
        if (cell.dataset, cell.network, cell.method) == ("cifar100", "resnet8", "dkel"):
            fabricate.run(tmp_path, cell.runs[2].config, {"teacher0": [1.0]}, "diverged")
    return plan


@pytest.fixture
def report(plan: Plan, tmp_path: Path) -> TableReport:
    return build(plan, tmp_path)

"""A recipe and a selection as cells and runs, with the jobs that are left to do and what they will cost."""

from okdbench.plan.expand import AnyPlan, Cell, Plan, Reported, Run, expand
from okdbench.plan.selection import Selection
from okdbench.plan.simulation import SimulationCell, SimulationPlan, SimulationRun

__all__ = [
    "AnyPlan",
    "Cell",
    "Plan",
    "Reported",
    "Run",
    "Selection",
    "SimulationCell",
    "SimulationPlan",
    "SimulationRun",
    "expand",
]

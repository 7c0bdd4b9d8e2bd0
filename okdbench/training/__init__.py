"""Training: one step, one loop, for every method."""

from okdbench.training.loop import RECORD, WEIGHTS, Interrupted, Trainer, build
from okdbench.training.step import Step

__all__ = ["RECORD", "WEIGHTS", "Interrupted", "Step", "Trainer", "build"]

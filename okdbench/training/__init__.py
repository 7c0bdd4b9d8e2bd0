"""Training: one step, one loop, for every method."""

from okdbench.training.loop import RECORD, Interrupted, Trainer, build
from okdbench.training.step import Step

__all__ = ["RECORD", "Interrupted", "Step", "Trainer", "build"]

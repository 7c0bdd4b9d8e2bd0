"""Training: one step, one loop, for every method."""

from okdbench.training.loop import Interrupted, Trainer, build_method
from okdbench.training.step import Step

__all__ = ["Interrupted", "Step", "Trainer", "build_method"]
